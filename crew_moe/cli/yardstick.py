"""What the same work would have cost elsewhere: always at the best expert, always at the cheapest.

The very tokens of the run are priced at each expert's list price. Best is the highest quality, the lower price among
equals. Cheapest is the lowest price above zero: a free tier has no service level to compare with. Both are taken from
the experts that may be called without being named and do not run on machines of one's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from crew_moe.domain.expert import Expert
from crew_moe.domain.money import to_usd

RULE: Final = (
    "The same tokens at list prices. Best: the highest quality. Cheapest: the lowest price above zero. Neither counts "
    "self-hosted experts."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """One expert, and what it would have charged in US$."""

    expert_id: str
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardsticks:
    """The two comparisons; None where no expert qualifies."""

    best: Yardstick | None
    cheapest: Yardstick | None


def measure(experts: Iterable[Expert], tokens: Iterable[tuple[int, int]]) -> Yardsticks:
    """Price `tokens`, (input, output) of each task, at every expert that could serve them."""
    sizes = list(tokens)
    priced = [
        (expert, Yardstick(expert_id=expert.expert_id, cost_usd=_cost(expert, sizes)))
        for expert in experts
        if expert.enabled and not expert.named_only and not expert.is_local
    ]
    best = min(priced, key=lambda pair: (-pair[0].quality, pair[1].cost_usd, pair[0].expert_id), default=None)
    charging = [pair[1] for pair in priced if not pair[0].is_free]
    return Yardsticks(
        best=best[1] if best else None,
        cheapest=min(charging, key=lambda stick: (stick.cost_usd, stick.expert_id), default=None),
    )


def _cost(expert: Expert, sizes: Iterable[tuple[int, int]]) -> Decimal:
    return to_usd(sum(expert.charge_nano(taken, given) for taken, given in sizes))
