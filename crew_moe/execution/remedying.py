"""A decision made anew after the gate or a budget stood in the way: the same work for less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crew_moe.domain.access import Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.expert import Tier
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.request import RoutingRequest
from crew_moe.execution.clearance import Remedy

TURNED_AWAY: Final = frozenset({ErrorClass.OVER_BUDGET, ErrorClass.DENIED, ErrorClass.HELD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Downgraded:
    """What was asked for instead, and the answer to it."""

    request: RoutingRequest
    demands: Demands
    ruling: Decision | Infeasible


def downgraded(
    request: RoutingRequest,
    demands: Demands,
    remedy: Remedy,
    attempts: Sequence[Attempt],
    decide: Callable[[RoutingRequest, Demands], Decision | Infeasible],
) -> Downgraded:
    """Decide anew: below the ceiling or within the money that is left, and without those who were turned away.

    The next lower tier is tried first, then any below it. The quality floor stays: it is no part of the wish.
    """
    away = frozenset((row.expert_id, str(row.error)) for row in attempts if row.error in TURNED_AWAY)
    ceiling = request.max_tier or request.tier
    stricter = demands.joined(Demands(forbidden=away, max_tier=remedy.max_tier)).joined(Demands(max_tier=ceiling))
    floors: tuple[Tier | None, ...] = (None,) if remedy.max_tier is None else (remedy.max_tier, None)
    for floor in floors:
        asked = request.model_copy(update=_instead(request, remedy, floor))
        ruling = decide(asked, stricter)
        if ruling.ok:
            break
    return Downgraded(request=asked, demands=stricter, ruling=ruling)


def _instead(request: RoutingRequest, remedy: Remedy, floor: Tier | None) -> dict[str, Any]:
    update: dict[str, Any] = {"tier": floor, "max_tier": None}
    if remedy.budget_usd is not None:
        budget = request.budget_usd
        update["budget_usd"] = remedy.budget_usd if budget is None else min(budget, remedy.budget_usd)
    return update
