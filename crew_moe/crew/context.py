"""The routing context of a run: what is known of each task's expert and money when the run begins.

It goes into the crew's inputs, so that agents.yaml and tasks.yaml may speak of it. In the words of a task stand for
that very task, and in those of anybody for the task that is named:

    {routing_expert}       {routing_expert_audit}        gpt-4o; "nobody" where nobody could serve the task now
    {routing_tier}         {routing_tier_audit}          fast, baseline or premium
    {routing_fallbacks}    {routing_fallbacks_audit}     gpt-4o-mini, claude-3-haiku; or "nobody"
    {routing_budget_usd}   {routing_budget_usd_audit}    0.15; or "unlimited"

and `{routing}` for all of it as a mapping. The task's first call decides again: by then others have spent and failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from crew_moe.crew.files import CrewFiles
from crew_moe.crew.forecast import Forecast
from crew_moe.domain.decision import Infeasible
from crew_moe.domain.money import to_usd
from crew_moe.domain.principal import Principal
from crew_moe.errors import ConfigError

if TYPE_CHECKING:
    from crew_moe.router import Router

ROUTING: Final = "routing"
NOBODY: Final = "nobody"
UNLIMITED: Final = "unlimited"
OF_A_TASK: Final = ("routing_expert", "routing_tier", "routing_fallbacks", "routing_budget_usd")
_OURS: Final = re.compile(rf"{ROUTING}(_.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRouting:
    """What is known of one task when its run begins. `budget_usd` is what it may spend at most then, all of its limits
    taken together; None where there is none. `asks`: a person has to approve of the expert first.
    """

    task: str
    expert_id: str | None
    tier: str | None
    fallbacks: tuple[str, ...]
    budget_usd: Decimal | None
    asks: bool
    decision_id: str
    rationale: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; money as a string."""
        return {
            "expert_id": self.expert_id,
            "tier": self.tier,
            "fallbacks": list(self.fallbacks),
            "budget_usd": None if self.budget_usd is None else f"{self.budget_usd:f}",
            "asks": self.asks,
            "decision_id": self.decision_id,
            "rationale": self.rationale,
        }

    @property
    def words(self) -> dict[str, str]:
        """The placeholders of this task, by their names in its own words."""
        budget = UNLIMITED if self.budget_usd is None else f"{self.budget_usd.normalize():f}"
        values = (self.expert_id or NOBODY, self.tier or NOBODY, ", ".join(self.fallbacks) or NOBODY, budget)
        return dict(zip(OF_A_TASK, values, strict=True))


Context = Mapping[str, TaskRouting]


def context_of(
    router: Router, forecasts: Iterable[Forecast], *, principal: Principal | None, budget_usd: Decimal | None
) -> Context:
    """By task. Raises StateError where the ledger can't be asked: what is left of a budget is not guessed."""
    return {one.task: _task_routing(router, one, principal, budget_usd) for one in forecasts}


def injected(context: Context) -> dict[str, Any]:
    """The inputs that every crew gets: the whole mapping, and a word for each task by its name."""
    named = {f"{word}_{task}": text for task, one in context.items() for word, text in one.words.items()}
    return {ROUTING: {task: one.as_dict() for task, one in context.items()}, **named}


def speaks_of_routing(files: CrewFiles) -> bool:
    """Whether any text wants to know."""
    return any(_OURS.fullmatch(name) for name in files.placeholders)


def asked_of_callers(files: CrewFiles) -> frozenset[str]:
    """The placeholders that are not ours. Raises ConfigError for one that looks like ours and is none."""
    named = {f"{word}_{task}" for task in files.tasks for word in OF_A_TASK}
    ours = {name for name in files.placeholders if _OURS.fullmatch(name)}
    for name in sorted(ours & files.in_agents & set(OF_A_TASK)):
        what = f"{{{name}}} is known in the words of a task; an agent's have to name the task"
        raise ConfigError(what, file=str(files.folder), key=name, allowed=sorted(one for one in named if name in one))
    for name in sorted(ours - named - {ROUTING, *OF_A_TASK}):
        allowed = sorted({ROUTING, *OF_A_TASK, *named})
        raise ConfigError(f"unknown placeholder {{{name}}}", file=str(files.folder), value=name, allowed=allowed)
    return files.placeholders - ours


def _task_routing(
    router: Router, one: Forecast, principal: Principal | None, budget_usd: Decimal | None
) -> TaskRouting:
    decision = one.decision
    if isinstance(decision, Infeasible):
        chosen: dict[str, Any] = {"expert_id": None, "tier": None, "fallbacks": (), "rationale": decision.message}
    else:
        chosen = {
            "expert_id": decision.expert_id,
            "tier": str(decision.tier),
            "fallbacks": tuple(decision.fallbacks),
            "rationale": decision.rationale,
        }
    left = _left_usd(router, one, principal, budget_usd)
    return TaskRouting(task=one.task, budget_usd=left, asks=one.asks, decision_id=decision.decision_id, **chosen)


def _left_usd(router: Router, one: Forecast, principal: Principal | None, budget_usd: Decimal | None) -> Decimal | None:
    """The least that is left in any of the scopes that pay for the task."""
    guards = router.guards
    errand = guards.errand(one.request, task=one.decision.decision_id, principal=principal)
    left = [] if budget_usd is None else [budget_usd]
    for scope in errand.scopes:
        ceiling, status = errand.ceilings.get(scope), guards.ledger.status(scope)
        if status.available_usd is not None:
            left.append(status.available_usd)
        elif ceiling is not None:
            left.append(to_usd(ceiling.limit_nano))
    return min(left, default=None)
