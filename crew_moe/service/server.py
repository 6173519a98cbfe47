"""Runs the service: one process, or a number of workers that share a state."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI

from crew_moe.auth.authenticator import Authenticator
from crew_moe.domain.host_rules import LOOPBACK as LOOPBACK_SERVICES
from crew_moe.errors import InvalidInput
from crew_moe.router import Router
from crew_moe.service.app import Parts, make_app
from crew_moe.service.options import LOOPBACK, ServiceOptions
from crew_moe.settings import PREFIX, Settings, read_settings
from crew_moe.surface.telemetry import Telemetry

MEMORY: Final = ":memory:"
FACTORY: Final = "crew_moe.service.server:app_of_worker"


def options_of(settings: Settings) -> ServiceOptions:
    """The options that the environment sets, by which a worker knows what its parent was told."""
    return ServiceOptions(
        host=settings.serve_host,
        port=settings.serve_port,
        workers=settings.serve_workers,
        hosts=(*LOOPBACK, *_listed(settings.serve_hosts)),
        origins=_listed(settings.serve_origins),
        rate=settings.serve_rate,
        max_body_bytes=settings.serve_max_body_bytes,
        timeout_s=settings.serve_timeout_s,
        drain_s=settings.serve_drain_s,
        dev=settings.serve_dev,
    )


def serve(told: Mapping[str, str]) -> None:
    """Serve until somebody stops it. `told` are flags of the command line, by the names of their settings; they take
    the place of the environment's. Raises InvalidInput for a service that would be open to everybody, or in pieces.
    """
    os.environ.update({f"{PREFIX}{name.upper()}": value for name, value in told.items()})
    settings = read_settings()
    options = options_of(settings)
    check(options, settings)
    with _workers_prepared(options):
        uvicorn.run(
            FACTORY,
            factory=True,
            host=options.host,
            port=options.port,
            workers=options.workers,
            timeout_graceful_shutdown=round(options.drain_s),
            access_log=False,
            log_level="warning",
            server_header=False,
        )


def check(options: ServiceOptions, settings: Settings) -> None:
    """Raise InvalidInput for options that don't go together, before anything listens."""
    if not options.is_local and not Authenticator.from_settings(settings).enabled:
        raise InvalidInput(
            f"'{options.host}' can be reached from outside, and nobody is asked who he is",
            where="--host",
            allowed=(f"{PREFIX}JWT_KEYS with issuer and audience", f"{PREFIX}API_KEYS", *LOOPBACK),
        )
    if options.dev and not options.is_local:
        raise InvalidInput("is for this machine alone", where="--dev", allowed=LOOPBACK)
    if options.workers > 1 and settings.state == MEMORY:
        raise InvalidInput(
            "workers that share no state would each have their own budgets and breakers",
            where="--workers",
            allowed=("1", "--state redis://host:6379/0", "--state sqlite:///path.db"),
        )


def app_of_worker() -> FastAPI:
    """The app of one worker, as the environment says."""
    settings = read_settings()
    return make_app(parts_of(settings, options_of(settings)))


def parts_of(settings: Settings, options: ServiceOptions) -> Parts:
    """Open what a service is made of. Raises ConfigError, InvalidInput, MissingExtra and StateError."""
    telemetry = Telemetry.open(settings.state)
    router = Router.from_config(
        settings.config,
        state=settings.state,
        base_url=settings.serve_providers or None,
        live=settings.serve_live,
        watchers=telemetry.watchers,
        service_hosts=LOOPBACK_SERVICES if options.dev else None,
    )
    return Parts(
        router=router,
        telemetry=telemetry,
        authenticator=Authenticator.from_settings(settings, sink=router.sink),
        options=options,
        state=settings.state,
    )


@contextmanager
def _workers_prepared(options: ServiceOptions) -> Iterator[None]:
    """What several workers must have in common: one key for digests, and a folder where their metrics meet."""
    if options.workers == 1:
        yield
        return
    os.environ.setdefault(f"{PREFIX}LOG_KEY", secrets.token_hex(32))
    with tempfile.TemporaryDirectory(prefix="crew-moe-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _listed(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())
