"""Runs the local gate's service: one process, whose loaded models all requests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from crew_moe.auth.authenticator import Authenticator
from crew_moe.catalog.local import FILE, load_local
from crew_moe.domain.hosting import LocalPlan
from crew_moe.domain.registry import Registry
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.local_gate.engine.lane import Pool
from crew_moe.local_gate.gate.gate import Gate
from crew_moe.local_gate.ray_options import RayOptions, spread
from crew_moe.local_gate.serving import LocalGate
from crew_moe.router import Router
from crew_moe.service.app import Parts
from crew_moe.service.local.app import make_local_app
from crew_moe.service.options import ServiceOptions
from crew_moe.service.server import TALKATIVE, address_of, listed
from crew_moe.service.serving import serve_app, until_told
from crew_moe.settings import Settings, hand_down, read_settings
from crew_moe.surface.binding import LOOPBACK, listening
from crew_moe.surface.rates import RateLimit
from crew_moe.surface.telemetry import Telemetry
from crew_moe.telemetry.libraries import tame

Announce = Callable[[str], None]


def serve_local(told: Mapping[str, str], announce: Announce, over: RayOptions | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. `told` are flags, by the names of their settings, and `announce` gets one line
    when the service answers; `over` spreads the experts over a Ray cluster. Raises InvalidInput for a service that
    would be open to everybody, and what opening its parts raises.
    """
    with until_told():
        hand_down(told)
        settings = read_settings()
        options = local_options(settings)
        RateLimit.parse(options.rate, where="--rate")
        plan = plan_of(settings)
        guarded = Authenticator.from_settings(settings).enabled
        with listening(options.host, options.port, guarded=guarded) as listener, spread(plan, over) as pool:
            tame(TALKATIVE)
            app = make_local_app(*local_parts(settings, options, plan, pool))
            line = f"Serving at {address_of(listener)}, {len(plan.hosts)} hosted experts"
            serve_app(app, listener, drain_s=options.drain_s, started=lambda: announce(line), farewell=_farewell)


def local_options(settings: Settings) -> ServiceOptions:
    """The options that the environment sets."""
    return ServiceOptions(
        host=settings.local_host,
        port=settings.local_port,
        hosts=(*LOOPBACK, *listed(settings.local_allow_hosts)),
        origins=listed(settings.local_cors_origins),
        rate=settings.local_rate,
        max_body_bytes=settings.local_max_body_bytes,
        drain_s=settings.local_drain_s,
    )


def plan_of(settings: Settings) -> LocalPlan:
    """local.yaml, with what the command line says of it. Raises ConfigError and InvalidInput."""
    plan = load_local(settings.config, settings.models)
    warm = listed(settings.local_warm)
    for name in warm:
        if name not in plan.hosts:
            raise InvalidInput(f"no hosted expert is called '{name}'", where="--warm", value=name, allowed=plan.hosts)
    hosts = {name: replace(spec, warm=spec.warm or name in warm) for name, spec in plan.hosts.items()}
    return replace(plan, hosts=hosts, timeout_s=settings.local_timeout_s or plan.timeout_s)


def local_parts(
    settings: Settings, options: ServiceOptions, plan: LocalPlan, pool: Pool | None = None
) -> tuple[LocalGate, Parts]:
    """The engine, which has loaded nothing yet, over the plan's own hosts or those in `pool`, and what stands around
    it. Raises ConfigError, InvalidInput, MissingExtra and StateError.
    """
    telemetry = Telemetry.open(settings.state)
    router = Router.from_config(settings.config, state=settings.state, watchers=telemetry.watchers)
    _check_fallback(plan, router.registry)
    parts = Parts(
        router=router,
        telemetry=telemetry,
        authenticator=Authenticator.from_settings(settings, sink=router.sink),
        options=options,
        state=settings.state,
    )
    told: dict[str, Any] = {"clock": router.clock, "sink": router.sink, "log": router.log}
    if pool is None:
        return LocalGate.open(plan, **told), parts
    return LocalGate(plan, pool=pool, gate=Gate.open(plan.gate, plan.hosts), **told), parts


def _check_fallback(plan: LocalPlan, registry: Registry) -> None:
    name = plan.fallback
    if name is not None and name not in registry:
        raise ConfigError(
            f"unknown expert '{name}'", file=FILE, key="fallback", value=name, allowed=sorted(registry.by_id)
        )


async def _farewell() -> None:
    """Nobody only listens here."""
