"""Where a run takes place: the providers that it calls, the router over them, and what has to be said about it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crew_moe.catalog import load_registry
from crew_moe.cli.approvers import AtTerminal, Elsewhere, Standing, typed_line
from crew_moe.cli.options import MEMORY, open_router, shown_state, user_name
from crew_moe.domain.expert import Expert, Status
from crew_moe.errors import InvalidInput
from crew_moe.settings import has_credentials, read_settings

if TYPE_CHECKING:
    from crew_moe.cli.material import Material
    from crew_moe.cli.progress import Progress
    from crew_moe.router import Router
    from crew_moe.sim import Rule, Script

DUTY_OFFICER: Final = (
    "Calls that a person must approve are approved by the demonstration's duty officer, who always says yes."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`experts` could serve, `notices` are sentences for the reader; `state` is what may be shown of the state's URL,
    None when nothing is kept.
    """

    router: Router
    simulated: bool
    experts: tuple[Expert, ...]
    notices: tuple[str, ...]
    state: str | None


@contextmanager
def simulated_stage(
    material: Material, state: str | None, progress: Progress, script: Path | None = None
) -> Iterator[Stage]:
    """Every expert of the catalogue, played on loopback; `script` says what goes wrong."""
    from crew_moe.sim import load_script, simulate

    registry = load_registry(material.folder)
    cues = load_script(script or material.script, registry)
    with (
        simulate(cues, registry=registry) as simulation,
        open_router(material.rules, state, base_url=simulation.base_url, sink=progress) as router,
    ):
        _find_approver(router, state, progress, demo=material.is_demo)
        notices = _simulated_notices(cues)
        yield Stage(
            router=router,
            simulated=True,
            experts=tuple(router.registry),
            notices=(*notices, DUTY_OFFICER) if material.is_demo else notices,
            state=_kept(state),
        )


@contextmanager
def live_stage(material: Material, state: str | None, progress: Progress) -> Iterator[Stage]:
    """The real providers, as far as their keys are set. Raises InvalidInput when no expert can be called."""
    with open_router(material.rules, state, live=True, sink=progress) as router:
        _find_approver(router, state, progress)
        experts = callable_experts(router.registry)
        yield Stage(
            router=router, simulated=False, experts=experts, notices=live_notices(router.registry), state=_kept(state)
        )


def _find_approver(router: Router, state: str | None, progress: Progress, *, demo: bool = False) -> None:
    """Somebody who answers when a call is held: the demonstration's officer, the person at the terminal, whoever reads
    the state, or nobody.
    """
    desk, kept = router.guards.desk, _kept(state)
    screen = sys.stderr  # as it is now: what CrewAI writes is caught later, and everything on stderr with it
    if demo:
        desk.attach(Standing(desk=desk, approve=True, name="duty officer", why="part of the demonstration"))
    elif sys.stdin.isatty() and screen.isatty():
        desk.attach(AtTerminal(desk=desk, name=user_name(), screen=screen, paused=progress.paused, typed=typed_line))
    elif kept is not None:
        desk.attach(Elsewhere(screen=screen, state=kept))
    else:
        why = "nobody can answer: there is no terminal, and the state is in memory"
        desk.attach(Standing(desk=desk, approve=False, name="crew-moe run", why=why))


def callable_experts(experts: Iterable[Expert]) -> tuple[Expert, ...]:
    """Those that a live run may choose: switched on, not retired, with their key. Raises InvalidInput for none."""
    known = tuple(experts)
    found = tuple(
        expert
        for expert in known
        if expert.enabled and expert.status is not Status.RETIRED and has_credentials(expert) and not expert.named_only
    )
    if not found:
        keys = ", ".join(sorted({expert.api_key_env for expert in known if expert.api_key_env}))
        raise InvalidInput(
            f"no expert can be called: none of {keys} is set, and no self-hosted expert is switched on", where="--live"
        )
    return found


def live_notices(experts: Iterable[Expert]) -> tuple[str, ...]:
    """Who may serve, and who is left out for which reason."""
    known = tuple(experts)
    retired = [expert.expert_id for expert in known if expert.enabled and expert.status is Status.RETIRED]
    keyless = [
        expert.expert_id
        for expert in known
        if expert.enabled and expert.status is not Status.RETIRED and not has_credentials(expert)
    ]
    serving = ", ".join(expert.expert_id for expert in callable_experts(known))
    notices = [f"Real providers are called, and they charge for it. Experts that may serve: {serving}."]
    if retired:
        notices.append(f"Left out because their provider has retired them: {', '.join(retired)}.")
    if keyless:
        notices.append(f"Left out because their key is not set: {', '.join(keyless)}.")
    return tuple(notices)


def _simulated_notices(script: Script) -> tuple[str, ...]:
    pace = "at once" if script.speed == 0 else f"{1 / script.speed:g} times faster than the experts do"
    notices = [
        "The providers are simulated on this machine: no model is called and nothing is charged. Every text comes from "
        "an offline extractive expert, which picks sentences from the given text. It is not an LLM.",
        f"Prices are those of the catalogue; the simulation answers {pace}.",
    ]
    if script.rules:
        notices.append(f"Degraded on purpose: {'; '.join(_cue(rule) for rule in script.rules)}.")
    return tuple(notices)


def _cue(rule: Rule) -> str:
    who = rule.expert or (f"every expert of {rule.provider}" if rule.provider else "every expert")
    what = "answers late" if rule.error is None else f"fails with {rule.error}"
    return f"{who} {what}"


def _kept(state: str | None) -> str | None:
    url = state or read_settings().state
    return None if url == MEMORY else shown_state(url)
