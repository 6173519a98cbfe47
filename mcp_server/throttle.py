"""Holds each caller to its number of requests, as the HTTP service does."""

from __future__ import annotations

from typing import Any, Final

from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_http_request
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from crew_moe.surface.fault import Fault
from crew_moe.surface.rates import Limited, Rates, Standing, caller_key
from mcp_server.auth import current_caller
from mcp_server.routed_tool import refusal

_COUNTED: Final = "crew_moe.counted"


class Throttle(Middleware):
    """Counts every request of a caller, and answers those beyond the limit with a fault."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        standing = await self._standing()
        if not isinstance(standing, Limited):
            return await call_next(context)
        fault = _too_many(standing)
        if context.method == "tools/call":
            return refusal(fault)
        raise ToolError(str(fault))

    async def _standing(self) -> Standing:
        """How the caller stands. The protocol's library asks for the list of tools by itself before a first call: what
        comes with one request over HTTP counts once.
        """
        try:
            scope = get_http_request().scope
        except RuntimeError:  # not over HTTP
            return await self._rates.hit(caller_key(current_caller(), None))
        if _COUNTED not in scope:
            client = scope.get("client")
            scope[_COUNTED] = await self._rates.hit(caller_key(current_caller(), client[0] if client else None))
        standing: Standing = scope[_COUNTED]
        return standing


def _too_many(standing: Limited) -> Fault:
    limit = standing.limit
    return Fault(
        code="rate_limited",
        status=429,
        what=f"more than {limit.count} requests in {limit.window_s} s",
        next_step=f"wait {standing.retry_after_s} s",
        retry_after_s=float(standing.retry_after_s),
    )
