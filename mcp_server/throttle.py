"""Holds each caller to its number of requests, as the HTTP service does."""

from __future__ import annotations

from typing import Any

from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_http_request
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from crew_moe.surface.fault import Fault
from crew_moe.surface.rates import Limited, Rates, caller_key
from mcp_server.auth import current_caller
from mcp_server.routed_tool import refusal


class Throttle(Middleware):
    """Counts every request of a caller, and answers those beyond the limit with a fault."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        standing = await self._rates.hit(caller_key(current_caller(), _address()))
        if not isinstance(standing, Limited):
            return await call_next(context)
        fault = _too_many(standing)
        if context.method == "tools/call":
            return refusal(fault)
        raise ToolError(str(fault))


def _too_many(standing: Limited) -> Fault:
    limit = standing.limit
    return Fault(
        code="rate_limited",
        status=429,
        what=f"more than {limit.count} requests in {limit.window_s} s",
        next_step=f"wait {standing.retry_after_s} s",
        retry_after_s=float(standing.retry_after_s),
    )


def _address() -> str | None:
    try:
        client = get_http_request().client
    except RuntimeError:  # not over HTTP
        return None
    return None if client is None else client.host
