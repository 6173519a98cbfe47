"""`crew-moe mcp`: the router for MCP clients, over stdio or HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from crew_moe.cli.options import Config, Live, State, one_of, open_router
from crew_moe.cli.output import err
from crew_moe.errors import MissingExtra

if TYPE_CHECKING:
    from crew_moe.router import Router
    from crew_moe.settings import Settings

LIBRARY: Final = "fastmcp"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp")(mcp)


def mcp(
    transport: Annotated[
        str | None, typer.Option("--transport", metavar="NAME", help="stdio (default) or http.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="HTTP: default 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="HTTP: default 8006; 0 takes a free one.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="HTTP: a name clients call this machine by; repeatable."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="COUNT/UNIT", help="HTTP: per caller; default 6000/minute.")
    ] = None,
    writes: Annotated[
        bool | None,
        typer.Option("--enable-writes/--read-only", help="Offer the tools that change something; default: read-only."),
    ] = None,
    toolsets: Annotated[
        str | None,
        typer.Option("--toolsets", metavar="NAMES", help="Comma-separated; default: all but crew."),
    ] = None,
    project: Annotated[
        Path | None, typer.Option("--project", metavar="DIR", help="The crew that execute_crew may run.")
    ] = None,
    config: Config = None,
    live: Live = False,
    state: State = None,
) -> None:
    """Serve MCP clients: which expert to use and how healthy each is; with --enable-writes, outcomes and overrides."""
    if find_spec(LIBRARY) is None:
        raise MissingExtra("mcp", LIBRARY)
    from crew_moe.settings import read_settings

    settings = read_settings()
    given = {
        "mcp_transport": one_of(transport, ("stdio", "http"), "--transport"),
        "mcp_host": host,
        "mcp_port": port,
        "mcp_allow_hosts": None if allow_host is None else ",".join(allow_host),
        "mcp_rate": rate,
        "mcp_enable_writes": writes,
        "mcp_toolsets": toolsets,
        "mcp_project": project,
        "mcp_live": live or None,
        "config": config,
        "state": state,
    }
    chosen = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    with open_router(chosen.config, chosen.state, live=chosen.mcp_live) as router:
        (_over_http if chosen.mcp_transport == "http" else _over_stdio)(router, chosen)


def _over_stdio(router: Router, chosen: Settings) -> None:
    from crew_moe.surface.operations import Operations
    from mcp_server.exposure import exposure_of
    from mcp_server.launch import run_stdio
    from mcp_server.server import RouterServer

    run_stdio(RouterServer(Operations(router), exposure_of(chosen, router)))


def _over_http(router: Router, chosen: Settings) -> None:
    from crew_moe.auth.authenticator import Authenticator
    from crew_moe.surface.binding import listening
    from crew_moe.surface.operations import Operations
    from crew_moe.surface.rates import RateLimit, Rates
    from mcp_server.exposure import exposure_of, words
    from mcp_server.launch import run_http, url_of
    from mcp_server.server import RouterServer

    authenticator = Authenticator.from_settings(chosen, clock=router.clock, sink=router.sink)
    limit = RateLimit.parse(chosen.mcp_rate, where="--rate")
    rates = Rates.open(limit, chosen.state, name="mcp", clock=router.clock, sink=router.sink)
    server = RouterServer(Operations(router), exposure_of(chosen, router), authenticator=authenticator, rates=rates)
    with listening(chosen.mcp_host, chosen.mcp_port, guarded=authenticator.enabled) as listener:
        err().print(f"MCP at {url_of(listener)}")
        run_http(server, listener, hosts=words(chosen.mcp_allow_hosts))
