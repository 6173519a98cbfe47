"""The place of the MCP server, which answers MCP clients with routing suggestions; it holds none yet."""
