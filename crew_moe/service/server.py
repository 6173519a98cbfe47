"""Runs the service: in this process, or in a number of workers that share a state."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import structlog

from crew_moe.auth.authenticator import Authenticator
from crew_moe.catalog import load_registry
from crew_moe.domain.host_rules import LOOPBACK as LOOPBACK_SERVICES
from crew_moe.errors import CrewMoEError, InvalidInput
from crew_moe.router import Router
from crew_moe.service.app import Parts, make_app
from crew_moe.service.options import ServiceOptions
from crew_moe.service.serving import SETTLE_S, serve_app, until_told
from crew_moe.service.workers import Workers
from crew_moe.settings import Settings, hand_down, read_settings, share_metrics
from crew_moe.sim import simulate
from crew_moe.surface.binding import LOOPBACK, is_loopback, listening
from crew_moe.surface.rates import REDIS, RateLimit
from crew_moe.surface.telemetry import Telemetry
from crew_moe.telemetry.events import LogSink, log_setup
from crew_moe.telemetry.libraries import tame

TALKATIVE: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "httpx", "asyncio")
CLOSING_S: Final = 10.0
"""What a worker may take to close its state, beyond what its calls may take."""

Announce = Callable[[str], None]


def serve(told: Mapping[str, str], announce: Announce) -> bool:
    """Serve until SIGTERM or Ctrl-C; False where no worker could start.

    `told` are flags of the command line, by the names of their settings; they take the place of the environment's, for
    this process and its workers. `announce` gets one line when the service answers. Raises InvalidInput for a service
    that would be open to everybody, or in pieces, and what opening its parts raises.
    """
    with until_told(), ExitStack() as stack:
        hand_down(told)
        settings = read_settings()
        options = options_of(settings)
        check(options, settings)
        guarded = Authenticator.from_settings(settings).enabled
        listener = stack.enter_context(listening(options.host, options.port, guarded=guarded))
        line = _line(listener, options, simulated=settings.serve_simulate)
        if settings.serve_simulate:
            stack.enter_context(_simulated(settings.config))
        if options.workers == 1:
            _serve_here(listener, lambda: announce(line))
            return True
        stack.enter_context(_shared_by_workers(settings))
        _try(settings, options)
        patience_s = options.drain_s + SETTLE_S + CLOSING_S
        workers = Workers(work, options.workers, listener, patience_s=patience_s, sink=LogSink())
        return workers.run(lambda: announce(line))
    return True


def options_of(settings: Settings) -> ServiceOptions:
    """The options that the environment sets, by which a worker knows what its parent was told."""
    return ServiceOptions(
        host=settings.serve_host,
        port=settings.serve_port,
        workers=settings.serve_workers,
        hosts=(*LOOPBACK, *listed(settings.serve_allow_hosts)),
        origins=listed(settings.serve_cors_origins),
        rate=settings.serve_rate,
        max_body_bytes=settings.serve_max_body_bytes,
        timeout_s=settings.serve_timeout_s,
        drain_s=settings.serve_drain_s,
        dev=settings.serve_dev,
    )


def check(options: ServiceOptions, settings: Settings) -> None:
    """Raise InvalidInput for options that don't go together, before anything listens."""
    if options.dev and not is_loopback(options.host):
        raise InvalidInput("is for this machine alone", where="--dev", allowed=LOOPBACK)
    if settings.serve_live and settings.serve_simulate:
        raise InvalidInput("simulated providers are not live ones", where="--simulate")
    if options.workers > 1 and not settings.state.startswith(REDIS):
        raise InvalidInput(
            "workers share budgets, breakers, rates and live events in Redis alone",
            where="--workers",
            allowed=("1", "--state redis://host:6379/0"),
        )
    RateLimit.parse(options.rate, where="--rate")


def parts_of(settings: Settings, options: ServiceOptions) -> Parts:
    """Open what a service is made of. Raises ConfigError, InvalidInput, MissingExtra and StateError."""
    telemetry = Telemetry.open(settings.state)
    router = Router.from_config(
        settings.config,
        state=settings.state,
        base_url=settings.serve_providers or None,
        live=settings.serve_live,
        watchers=telemetry.watchers,
        service_hosts=(*settings.listed_hosts, *LOOPBACK_SERVICES) if options.dev else None,
    )
    return Parts(
        router=router,
        telemetry=telemetry,
        authenticator=Authenticator.from_settings(settings, sink=router.sink),
        options=options,
        state=settings.state,
    )


def work(listener: socket.socket, started: Callable[[], None]) -> None:
    """The work of one process among several, as the environment says."""
    structlog.configure(**log_setup())
    try:
        with until_told():
            _serve_here(listener, started)
    except CrewMoEError as error:
        LogSink().emit("worker_failed", error=str(error))
        raise SystemExit(1) from None


def _serve_here(listener: socket.socket, started: Callable[[], None]) -> None:
    tame(TALKATIVE)
    settings = read_settings()
    options = options_of(settings)
    app = make_app(parts_of(settings, options))
    serve_app(app, listener, drain_s=options.drain_s, started=started, farewell=app.state.farewell)


def _try(settings: Settings, options: ServiceOptions) -> None:
    """Open everything once: what is wrong is told here, and not by every worker."""
    parts = parts_of(settings, options)
    parts.telemetry.close()
    parts.router.close()


@contextmanager
def _simulated(config: Path | None) -> Iterator[None]:
    """Every provider is played on this machine, for this process and its workers."""
    with simulate(registry=load_registry(config)) as providers:
        hand_down({"serve_providers": str(providers.base_url)})
        yield


@contextmanager
def _shared_by_workers(settings: Settings) -> Iterator[None]:
    """What several workers must have in common: one key for digests, and a folder where their metrics meet."""
    hand_down({"log_key": settings.log_key or secrets.token_hex(32)})
    with TemporaryDirectory(prefix="crew-moe-metrics-") as folder:
        share_metrics(Path(folder))
        yield


def _line(listener: socket.socket, options: ServiceOptions, *, simulated: bool) -> str:
    """Where the service is, and what is special about it."""
    told = {
        f"{options.workers} workers": options.workers > 1,
        "simulated providers": simulated,
        "for development": options.dev,
    }
    return ", ".join([f"Serving at {address_of(listener)}", *(note for note, true in told.items() if true)])


def address_of(listener: socket.socket) -> str:
    """Where clients find it."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def listed(words: str) -> tuple[str, ...]:
    """The words between commas."""
    return tuple(word.strip() for word in words.split(",") if word.strip())
