"""`crew-moe serve`: the HTTP service."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any, Final

import typer

from crew_moe.cli.options import Config, Live, State
from crew_moe.cli.output import err
from crew_moe.errors import MissingExtra

LIBRARIES: Final = ("fastapi", "uvicorn", "prometheus_client", "limits", "jwt")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Default 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Default 8005; 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="Processes; they share --state.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A name clients call this machine by; repeatable."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option("--cors-origin", metavar="ORIGIN", help="Whose pages may call it, https://...; repeatable."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="COUNT/UNIT", help="Per caller; default 6000/minute.")
    ] = None,
    max_body_bytes: Annotated[
        int | None, typer.Option("--max-body-bytes", min=1024, max=1_000_000_000, help="Default 8000000.")
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout-s", min=0.1, max=3600, help="To an answer, calls apart; default 30.")
    ] = None,
    drain_s: Annotated[
        float | None, typer.Option("--drain-s", min=0, max=3600, help="A stop waits for calls; default 30.")
    ] = None,
    dev: Annotated[bool, typer.Option("--dev", help="Services on this machine may register; loopback only.")] = False,
    simulate: Annotated[bool, typer.Option("--simulate", help="Play the providers here: no keys, no costs.")] = False,
    config: Config = None,
    live: Live = False,
    state: State = None,
) -> int:
    """Serve routing, the OpenAI API, live events and metrics over HTTP, until Ctrl-C or SIGTERM."""
    missing = next((name for name in LIBRARIES if find_spec(name) is None), None)
    if missing is not None:
        raise MissingExtra("service", missing)
    from crew_moe.service.server import serve as run

    given: dict[str, Any] = {
        "serve_host": host,
        "serve_port": port,
        "serve_workers": workers,
        "serve_allow_hosts": ",".join(allow_host or ()) or None,
        "serve_cors_origins": ",".join(cors_origin or ()) or None,
        "serve_rate": rate,
        "serve_max_body_bytes": max_body_bytes,
        "serve_timeout_s": timeout_s,
        "serve_drain_s": drain_s,
        "serve_dev": dev or None,
        "serve_simulate": simulate or None,
        "serve_live": live or None,
        "log_level": "debug" if context.find_root().params["debug"] else None,
        "config": config,
        "state": state,
    }
    told = {name: str(value) for name, value in given.items() if value is not None}
    return 0 if run(told, lambda line: err().print(line, soft_wrap=True)) else 1
