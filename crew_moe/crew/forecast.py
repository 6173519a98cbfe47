"""The decisions of a run before it begins: whom each task would get if its first call were made now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crew_moe.crew.config import RoutingBlock
from crew_moe.crew.files import CrewFiles, filled
from crew_moe.crew.plan import load_plan
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.expert import Tier
from crew_moe.domain.policy import Policy
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import ConfigError
from crew_moe.routing.features import estimate_tokens
from crew_moe.routing.needs import terms_of

if TYPE_CHECKING:
    from crew_moe.router import Router

MAX_TEXT_CHARS: Final = 20_000  # of a task's words, as a crew's calls have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What would become of one task; `asks` where its own block wants a person to approve of the expert first."""

    task: str
    request: RoutingRequest
    decision: Decision | Infeasible
    asks: bool


def forecast(
    router: Router,
    files: CrewFiles,
    inputs: Mapping[str, Any],
    *,
    principal: Principal | None = None,
    run_id: str | None = None,
    for_call: bool = False,
) -> tuple[Forecast, ...]:
    """One decision per task, in order; each is told how much its colleagues will have written.

    Raises ConfigError for what is wrong in the files, as building the crew does.
    """
    plan = load_plan(files.folder)
    plan.check(router.registry, router.policy)
    plan.check_tasks(files.tasks)
    found: list[Forecast] = []
    written: dict[str, int] = {}
    for name, entry in files.tasks.items():
        beyond = sum(written[task] for task in _read_before(name, entry, files, written))
        block = plan.block(agent=entry.get("agent"), task=name)
        request = _request(name, entry, block, files, inputs, beyond, run_id)
        decision = router.decide(request, for_call=for_call, principal=principal)
        found.append(Forecast(task=name, request=request, decision=decision, asks=_asks(decision, block)))
        written[name] = _output_tokens(request, decision, router.policy)
    return tuple(found)


def _read_before(name: str, entry: Any, files: CrewFiles, written: Mapping[str, int]) -> list[str]:
    """The tasks whose answers this one gets to read."""
    if not isinstance(entry, Mapping):
        raise ConfigError("an entry must be a mapping", file=files.tasks_file, key=name)
    if entry.get("agent") is not None:
        _known(entry["agent"], files.agents, "agent", files.tasks_file, f"{name}.agent")
    context = entry.get("context")
    if context is None:
        return list(written)
    if not isinstance(context, list):
        raise ConfigError("must be a list of names", file=files.tasks_file, key=f"{name}.context")
    for task in context:
        _known(task, written, "earlier task", files.tasks_file, f"{name}.context")
    return context


def _known(name: object, known: Mapping[str, object], noun: str, file: str, key: str) -> None:
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"unknown {noun} '{name}'", file=file, key=key, value=name, allowed=sorted(known))


def _asks(decision: Decision | Infeasible, block: RoutingBlock) -> bool:
    if isinstance(decision, Infeasible) or block.approval is None:
        return False
    return Tier(decision.tier).rank >= block.approval.rank


def _request(
    name: str,
    entry: Mapping[str, Any],
    block: RoutingBlock,
    files: CrewFiles,
    inputs: Mapping[str, Any],
    context: int,
    run_id: str | None,
) -> RoutingRequest:
    """The request that the task's first call would make."""
    words = f"{filled(str(entry.get('description', '')), inputs)}\n{entry.get('expected_output', '')}"
    text = words[:MAX_TEXT_CHARS]
    persona = files.agents.get(str(entry.get("agent")), {})
    around = [filled(str(value), inputs) for key, value in persona.items() if key in ("role", "goal", "backstory")]
    beyond = estimate_tokens(" ".join([*around, words])) - estimate_tokens(text) + context
    fields = block.request_fields()
    return RoutingRequest(**{**fields, "text": text, "context_tokens": beyond, "task": name, "run_id": run_id})


def _output_tokens(request: RoutingRequest, decision: Decision | Infeasible, policy: Policy) -> int:
    return int(terms_of(request, decision.features, policy).output_tokens)
