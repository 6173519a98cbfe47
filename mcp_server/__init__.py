"""The MCP surface of crew-moe: routing suggestions and expert health for MCP clients."""
