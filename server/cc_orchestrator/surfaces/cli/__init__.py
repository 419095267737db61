"""The command line: the same operations, derived from the registry. Never imports the MCP SDK."""
