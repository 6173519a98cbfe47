"""`crew-moe doctor`: what is installed, which keys are set, who answers, and whether state and money can be kept."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from crew_moe.cli.options import MEMORY, AsJson, Config, State, open_router, shown_state
from crew_moe.cli.output import show_table, write_json
from crew_moe.cli.versions import package_version
from crew_moe.errors import CrewMoEError

if TYPE_CHECKING:
    from crew_moe.domain.expert import Expert
    from crew_moe.domain.local_work import HostHealth
    from crew_moe.domain.policy import Policy
    from crew_moe.domain.registry import Registry
    from crew_moe.ports import Ledger, StateStore

TIMEOUT_S: Final = 2.0
PYTHONS: Final = ((3, 11), (3, 14))  # the first that works, the first that does not
OK: Final = "ok"
ABSENT: Final = "absent"
PROBLEM: Final = "problem"

# What each extra brings, by the names that are imported.
EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "crew": ("crewai", "summa"),
    "mcp": ("fastmcp",),
    "service": ("fastapi", "uvicorn", "jwt", "prometheus_client", "limits", "openai"),
    "redis": ("redis",),
    "policy": ("cedarpy",),
    "pii": ("presidio_analyzer",),
    "lang": ("lingua",),
    "prices": ("genai_prices",),
    "learn": ("sklearn", "scipy", "pyarrow"),
    "otel": ("opentelemetry",),
    "local": ("torch", "transformers", "tokenizers"),
    "ray": ("ray",),
    "discord": ("discord",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at; `state` is ok, absent (nothing is wrong with that) or problem."""

    topic: str
    name: str
    state: str
    detail: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(config: Config = None, state: State = None, as_json: AsJson = False) -> None:
    """Check the installation: versions, extras, keys (by name), self-hosted experts, state. Exit 1 on a problem."""
    from crew_moe.settings import read_settings

    settings = read_settings()
    checks = [_python(), _package(), *_extras(), *_configured(config or settings.config, state or settings.state)]
    if as_json:
        write_json([asdict(check) for check in checks])
    else:
        show_table(("!What", "!Name", "!State", "Detail"), ((c.topic, c.name, c.state, c.detail) for c in checks))
    if any(check.state == PROBLEM for check in checks):
        raise typer.Exit(1)


def _python() -> Check:
    low, high = PYTHONS
    fits = low <= sys.version_info[:2] < high
    wanted = "" if fits else f"needs {low[0]}.{low[1]} or later, before {high[0]}.{high[1]}"
    return Check(topic="python", name=platform.python_version(), state=OK if fits else PROBLEM, detail=wanted)


def _package() -> Check:
    return Check(topic="package", name="crew-moe", state=OK, detail=package_version())


def _extras() -> Iterable[Check]:
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if find_spec(name) is None]
        detail = f"without {', '.join(missing)}; pip install 'crew-moe[{extra}]'" if missing else ", ".join(modules)
        yield Check(topic="extra", name=extra, state=ABSENT if missing else OK, detail=detail)


def _configured(config: Path | None, url: str) -> Iterable[Check]:
    """Everything that a valid configuration is needed for; a mistake in it is one more problem."""
    from crew_moe.catalog import load_policy, load_registry
    from crew_moe.gating.access import access_control
    from crew_moe.gating.config import build_gate
    from crew_moe.strategies import STRATEGIES

    try:
        registry = load_registry(config)
        policy = load_policy(config, registry, STRATEGIES)
        access_control(policy, registry)
        build_gate(policy.gate)
        open_router(config, MEMORY).close()  # reads the quality model and own factors
        hosted = _hosted(config)
    except CrewMoEError as error:
        yield Check(topic="config", name=str(config), state=PROBLEM, detail=str(error))
        return
    yield Check(topic="config", name=policy.version, state=OK, detail=f"{len(registry)} experts")
    yield from _keys(registry)
    yield from (_answering(expert, hosted) for expert in registry if expert.is_local)
    yield from _stores(url, policy)


def _stores(url: str, policy: Policy) -> Iterable[Check]:
    """What is behind the state URL: statistics and pins, and the budgets, which ask more of a server."""
    from crew_moe.state import open_ledger, open_state

    kept = "forgotten when a command ends" if url == MEMORY else shown_state(url)
    opened: tuple[tuple[str, Callable[[], StateStore | Ledger]], ...] = (
        ("store", lambda: open_state(url, policy.breaker)),
        ("budgets", lambda: open_ledger(url)),
    )
    for name, opens in opened:
        try:
            opens().close()
        except CrewMoEError as error:
            yield Check(topic="state", name=name, state=PROBLEM, detail=str(error))
        else:
            yield Check(topic="state", name=name, state=OK, detail=kept)


def _keys(registry: Registry) -> Iterable[Check]:
    """Names of keys alone: what they hold is nobody's business."""
    from crew_moe.settings import has_credentials

    by_name: dict[str, list[Expert]] = {}
    for expert in registry:
        if expert.api_key_env is not None:
            by_name.setdefault(expert.api_key_env, []).append(expert)
    for name, experts in by_name.items():
        known = has_credentials(experts[0])
        yield Check(topic="key", name=name, state=OK if known else ABSENT, detail=f"for {len(experts)} experts")


def _hosted(config: Path | None) -> Mapping[str, HostHealth]:
    """How those are that the local gate hosts; none is loaded. Raises ConfigError."""
    from crew_moe.catalog.local import load_local
    from crew_moe.local_gate.serving import LocalGate

    gate = LocalGate.open(load_local(config))
    try:
        return gate.health().hosts
    finally:
        gate.close()


def _answering(expert: Expert, hosted: Mapping[str, HostHealth]) -> Check:
    """Whether a self-hosted expert is there: one elsewhere is asked which models it has."""
    from crew_moe.domain.expert import Transport
    from crew_moe.settings import base_url

    if not expert.enabled:
        return _self_hosted(expert, ABSENT, "switched off in the catalogue")
    url = base_url(expert)
    if expert.transport is Transport.HOSTED and url is None:
        return _here(expert, hosted)
    if expert.transport is Transport.EXTRACTIVE:
        here = find_spec("summa") is not None
        return _self_hosted(expert, OK if here else ABSENT, "in this process" if here else "needs the extra 'crew'")
    trouble = _trouble(f"{url}/models")
    return _self_hosted(expert, PROBLEM if trouble else OK, f"{shown_state(str(url))}: {trouble or 'answers'}")


def _here(expert: Expert, hosted: Mapping[str, HostHealth]) -> Check:
    """An expert of the local gate in this process; of `local/auto`, all that may serve."""
    from crew_moe.execution.hosted import AUTO, PREFIX

    name = expert.provider_model.removeprefix(PREFIX)
    able = [host.name for host in hosted.values() if host.trouble is None]
    if name == AUTO:
        return _self_hosted(expert, OK if able else ABSENT, f"in this process: {', '.join(able) or 'nobody'}")
    host = hosted.get(name)
    if host is None:
        return _self_hosted(expert, ABSENT, "not in local.yaml")
    return _self_hosted(expert, ABSENT if host.trouble else OK, host.what or "in this process")


def _self_hosted(expert: Expert, state: str, detail: str) -> Check:
    return Check(topic="expert", name=expert.expert_id, state=state, detail=detail)


def _trouble(url: str) -> str:
    """Why nobody speaks HTTP at this address, empty when somebody does."""
    import httpx

    try:
        status = httpx.get(url, timeout=TIMEOUT_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"no answer ({type(error).__name__})"
    return f"answers with HTTP {status}" if status >= httpx.codes.INTERNAL_SERVER_ERROR else ""
