"""The server: the tools that are switched on, the resources and the prompts, over one set of operations."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from fastmcp import FastMCP
from starlette.applications import Starlette
from starlette.middleware import Middleware

from crew_moe.auth.authenticator import Authenticator
from crew_moe.surface.operations import Operations
from mcp_server.auth import Verifier
from mcp_server.cancelling import Cancellations, Running
from mcp_server.exposure import READ_ONLY, Exposure
from mcp_server.faults import Faults
from mcp_server.prompts import PROMPTS, TextPrompt
from mcp_server.resources import add_resources
from mcp_server.routed_tool import RoutedTool
from mcp_server.throttle import Throttle

if TYPE_CHECKING:
    from crew_moe.surface.rates import Rates

NAME: Final = "crew-moe"
PATH: Final = "/mcp"
INSTRUCTIONS: Final = (
    "Routes requests to the right expert (LLM) inside a budget. Ask suggest_route before a model is called, "
    "record_outcome after it. Errors read 'code: what; valid values; next step'."
)


class RouterServer(FastMCP[Any]):
    """A server that is ready to be run.

    With an authenticator that is enabled, callers over HTTP need the scopes of the tools, and do not see those that
    they lack. `rates` hold each of them to a number of requests.
    """

    def __init__(
        self,
        operations: Operations,
        exposure: Exposure = READ_ONLY,
        *,
        authenticator: Authenticator | None = None,
        rates: Rates | None = None,
    ) -> None:
        verifier = Verifier(authenticator) if authenticator is not None and authenticator.enabled else None
        super().__init__(
            NAME,
            instructions=INSTRUCTIONS,
            version=_version(),
            auth=verifier,
            middleware=[Faults()] if rates is None else [Throttle(rates), Faults()],
            mask_error_details=True,
        )
        self._running = Running()
        guarded = verifier is not None
        for row in exposure.rows():
            self.add_tool(RoutedTool.of(row, operations, exposure.project, self._running, guarded=guarded))
        add_resources(self, operations, guarded=guarded)
        for prompt in PROMPTS:
            self.add_prompt(TextPrompt.of(prompt, guarded=guarded))

    def app(self, hosts: Sequence[str] = ()) -> Starlette:
        """The server over HTTP, at /mcp. Every request stands alone, so that any replica may answer any of them.

        `hosts` are names by which clients may call this machine, beside loopback's.
        """
        return self.http_app(
            path=PATH,
            stateless_http=True,
            host_origin_protection=True,
            allowed_hosts=list(hosts),
            middleware=[Middleware(Cancellations, running=self._running)],
        )


def _version() -> str | None:
    try:
        return version(NAME)
    except PackageNotFoundError:  # runs from a source tree that was never installed
        return None
