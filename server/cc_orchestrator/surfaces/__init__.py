"""The ways in: MCP server and command line. They have no opinions."""
