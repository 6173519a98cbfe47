"""A request after the gate or a budget stood in its way: what to ask for instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from crew_moe.domain.access import Demands
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.request import RoutingRequest
from crew_moe.execution.clearance import Remedy

TURNED_AWAY: Final = frozenset({ErrorClass.OVER_BUDGET, ErrorClass.DENIED, ErrorClass.HELD})


def remedied(
    request: RoutingRequest, demands: Demands, remedy: Remedy, attempts: Sequence[Attempt]
) -> tuple[RoutingRequest, Demands]:
    """The same work for less: without the tier as a floor, below the ceiling or within the money that is left, and
    without those who were turned away. The quality floor stays.
    """
    away = frozenset((row.expert_id, str(row.error)) for row in attempts if row.error in TURNED_AWAY)
    update: dict[str, Any] = {"tier": None, "max_tier": None}
    ceiling = request.max_tier or request.tier
    if remedy.budget_usd is not None:
        budget = request.budget_usd
        update["budget_usd"] = remedy.budget_usd if budget is None else min(budget, remedy.budget_usd)
    stricter = Demands(forbidden=away, max_tier=remedy.max_tier).joined(Demands(max_tier=ceiling))
    return request.model_copy(update=update), demands.joined(stricter)
