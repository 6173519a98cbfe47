"""`crew-moe serve`: the HTTP service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from crew_moe.cli.options import Config, State, config_folder
from crew_moe.errors import InvalidInput, MissingExtra


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Where to listen; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Default 8005.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; they share --state.")] = None,
    hosts: Annotated[
        list[str] | None, typer.Option("--allow-host", metavar="NAME", help="A name it is reached by; repeatable.")
    ] = None,
    origins: Annotated[
        list[str] | None, typer.Option("--cors-origin", metavar="ORIGIN", help="A page that may call it; repeatable.")
    ] = None,
    rate: Annotated[str | None, typer.Option("--rate", metavar="N/UNIT", help="Per caller; 6000/minute.")] = None,
    max_body_bytes: Annotated[int | None, typer.Option("--max-body-bytes", help="Longest body; 8000000.")] = None,
    timeout_s: Annotated[float | None, typer.Option("--timeout-s", help="Longest wait for an answer; 30.")] = None,
    drain_s: Annotated[float | None, typer.Option("--drain-s", help="How long a stop waits for calls; 30.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Route to experts that can be called now alone.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Services on this machine may register; loopback only.")] = False,
    simulate: Annotated[bool, typer.Option("--simulate", help="Play the providers here; nothing is charged.")] = False,
    config: Config = None,
    state: State = None,
) -> None:
    """Serve routing, the OpenAI API, live events and metrics over HTTP. Every flag has a CREW_MOE_SERVE_* twin."""
    if live and simulate:
        raise InvalidInput("simulated providers are not live ones", where="--simulate")
    given = {
        "serve_host": host,
        "serve_port": port,
        "serve_workers": workers,
        "serve_hosts": ",".join(hosts or ()) or None,
        "serve_origins": ",".join(origins or ()) or None,
        "serve_rate": rate,
        "serve_max_body_bytes": max_body_bytes,
        "serve_timeout_s": timeout_s,
        "serve_drain_s": drain_s,
        "serve_live": live or None,
        "serve_dev": dev or None,
        "config": config,
        "state": state,
    }
    told = {name: str(value) for name, value in given.items() if value is not None}
    try:
        from crew_moe.service.server import serve as run
    except ModuleNotFoundError as error:
        raise MissingExtra("service", str(error.name)) from error
    with _providers(config, simulated=simulate) as base_url:
        run(told if base_url is None else {**told, "serve_providers": base_url})


@contextmanager
def _providers(config: Path | None, *, simulated: bool) -> Iterator[str | None]:
    """The address of simulated providers while they run; None where the real ones are called."""
    if not simulated:
        yield None
        return
    from crew_moe.catalog import load_registry
    from crew_moe.sim import simulate

    with simulate(registry=load_registry(config_folder(config))) as providers:
        yield str(providers.base_url)
