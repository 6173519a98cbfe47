"""The server: the tools that are switched on, the resources and the prompts, over one set of operations."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from fastmcp import FastMCP

from crew_moe.auth.authenticator import Authenticator
from crew_moe.surface.operations import Operations
from mcp_server.auth import Verifier
from mcp_server.exposure import READ_ONLY, Exposure
from mcp_server.faults import Faults
from mcp_server.prompts import PROMPTS, TextPrompt
from mcp_server.resources import add_resources
from mcp_server.routed_tool import RoutedTool
from mcp_server.throttle import Throttle

if TYPE_CHECKING:
    from crew_moe.surface.rates import Rates

NAME: Final = "crew-moe"
INSTRUCTIONS: Final = (
    "Routes requests to the right expert (LLM) inside a budget. Ask suggest_route before a model is called, "
    "record_outcome after it. Errors read 'code: what; valid values; next step'."
)


def build_server(
    operations: Operations,
    exposure: Exposure = READ_ONLY,
    *,
    authenticator: Authenticator | None = None,
    rates: Rates | None = None,
) -> FastMCP[Any]:
    """A server that is ready to be run. With an authenticator that is enabled, callers over HTTP need the scopes of the
    tools, and do not see those that they lack. `rates` hold each of them to a number of requests.
    """
    guarded = authenticator is not None and authenticator.enabled
    server: FastMCP[Any] = FastMCP(
        NAME,
        instructions=INSTRUCTIONS,
        version=_version(),
        auth=Verifier(authenticator) if authenticator is not None and guarded else None,
        middleware=[Faults()] if rates is None else [Throttle(rates), Faults()],
        mask_error_details=True,
    )
    for row in exposure.rows():
        server.add_tool(RoutedTool.of(row, operations, project=exposure.project, guarded=guarded))
    add_resources(server, operations, guarded=guarded)
    for prompt in PROMPTS:
        server.add_prompt(TextPrompt.of(prompt, guarded=guarded))
    return server


def _version() -> str | None:
    try:
        return version(NAME)
    except PackageNotFoundError:  # runs from a source tree that was never installed
        return None
