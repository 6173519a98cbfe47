"""`crew-moe local serve`: the local gate over HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from crew_moe.cli.options import Config, State
from crew_moe.cli.output import err
from crew_moe.cli.serve import LIBRARIES
from crew_moe.errors import MissingExtra

Host = Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Default 127.0.0.1.")]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Default 8000; 0 takes a free one.")]
AllowHosts = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="A name clients call this machine by; repeatable."),
]
Origins = Annotated[
    list[str] | None,
    typer.Option("--cors-origin", metavar="ORIGIN", help="Whose pages may call it, https://...; repeatable."),
]
Rate = Annotated[str | None, typer.Option("--rate", metavar="COUNT/UNIT", help="Per caller; default 6000/minute.")]
MaxBody = Annotated[int | None, typer.Option("--max-body-bytes", min=1024, max=1_000_000_000, help="Default 8000000.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout-s", min=0.1, max=86_400, help="To an answer; default local.yaml's, 30.")
]
Drain = Annotated[float | None, typer.Option("--drain-s", min=0, max=3600, help="A stop waits for calls; default 30.")]
Warm = Annotated[list[str] | None, typer.Option("--warm", metavar="EXPERT", help="Load it at the start; repeatable.")]
Models = Annotated[
    Path | None, typer.Option("--models", metavar="DIR", help="Folder of models; default .crew_moe/models.")
]
OnRay = Annotated[bool, typer.Option("--ray", help="Hold the experts in processes of a Ray cluster.")]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", metavar="HOST:PORT", help="Of that cluster; else one is started here.")
]
Replicas = Annotated[
    str | None, typer.Option("--replicas", metavar="MIN:MAX", help="How many such processes; default 1:4.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    context: typer.Context,
    host: Host = None,
    port: Port = None,
    allow_host: AllowHosts = None,
    cors_origin: Origins = None,
    rate: Rate = None,
    max_body_bytes: MaxBody = None,
    timeout_s: Timeout = None,
    drain_s: Drain = None,
    warm: Warm = None,
    models: Models = None,
    ray: OnRay = False,
    ray_address: RayAddress = None,
    replicas: Replicas = None,
    config: Config = None,
    state: State = None,
) -> int:
    """Serve self-hosted experts over HTTP, until Ctrl-C or SIGTERM. A model is loaded when it is first asked."""
    missing = next((name for name in LIBRARIES if find_spec(name) is None), None)
    if missing is not None:
        raise MissingExtra("service", missing)
    from crew_moe.local_gate.ray_options import ray_options
    from crew_moe.service.local.server import serve_local

    over = ray_options(ray_address, replicas) if ray or ray_address or replicas else None
    given: dict[str, Any] = {
        "local_host": host,
        "local_port": port,
        "local_allow_hosts": ",".join(allow_host or ()) or None,
        "local_cors_origins": ",".join(cors_origin or ()) or None,
        "local_rate": rate,
        "local_max_body_bytes": max_body_bytes,
        "local_timeout_s": timeout_s,
        "local_drain_s": drain_s,
        "local_warm": ",".join(warm or ()) or None,
        "models": models,
        "log_level": "debug" if context.find_root().params["debug"] else None,
        "config": config,
        "state": state,
    }
    told = {name: str(value) for name, value in given.items() if value is not None}
    serve_local(told, lambda line: err().print(line, soft_wrap=True), over)
    return 0
