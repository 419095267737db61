"""The stdio MCP server: protocol in, operations out. The only place that knows the MCP SDK."""
