"""Names of tools that are not there, told as every fault is."""

from __future__ import annotations

from typing import Any

from fastmcp.exceptions import NotFoundError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult

from crew_moe.errors import closest
from crew_moe.surface.fault import Fault
from mcp_server.routed_tool import refusal


class Faults(Middleware):
    """Answers with a fault where fastmcp would with words of its own."""

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, ToolResult]) -> ToolResult:
        try:
            return await call_next(context)
        except NotFoundError:
            return refusal(await _unknown(context))


async def _unknown(context: MiddlewareContext[Any]) -> Fault:
    server = context.fastmcp_context
    tools = () if server is None else await server.fastmcp.list_tools(run_middleware=False)
    known = tuple(sorted(tool.name for tool in tools))
    return Fault(
        code="unknown_tool",
        status=404,
        what="no such tool here, or it is not yours to use",
        allowed=known,
        closest=closest(context.message.name, known),
        next_step="list the tools",
    )
