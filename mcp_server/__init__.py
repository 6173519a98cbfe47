"""The router's MCP server: ten tools, three resources and two prompts over the operations that every surface shares.

`tools.TOOLS` is the table to read first; `python -m mcp_server` starts the server, as `crew-moe mcp` does.
"""
