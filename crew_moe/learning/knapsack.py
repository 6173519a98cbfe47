"""A budget over a horizon, as a price: what one US$ costs in reward while money is short.

Each decision is made by reward - price x cost. After each the price moves by how far the cost was above what may be
spent on one request: up when spending runs ahead, down, to 0, when there is money to spare. That is online descent on
the dual of the knapsack, and it earns what the best mix of experts earns within the budget, less about the square root
of the horizon's length; nothing about the requests to come has to be known.

The price alone would overspend by a little. So it has no end where the money has: without room only cost counts, and
bandits choose nothing dearer than the room while there is anything cheaper.

Badanidiyuru, Kleinberg, Slivkins: Bandits with knapsacks (FOCS 2013). Agrawal, Devanur: Linear contextual bandits with
knapsacks (NIPS 2016). Balseiro, Gur: Learning in repeated auctions with budgets (Management Science 2019), whose
adaptive pacing this is, with the target taken anew from what is left (resolving).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

RATE: Final = 1.5  # how fast the price moves, over the square root of the horizon's length
STEEPEST: Final = 4.0  # a single bill counts as at most so many times its due
NANO: Final = 1e-9  # US$, the smallest amount there is
BEYOND: Final = 1e6  # the price, over the due of one request, when there is no room: only cost counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """Where a horizon stands: `usd` for `requests`, of which `served` have been, for `spent_usd`.

    `pressure` is the dual variable: reward per cost of one request's due.
    """

    usd: float
    requests: int
    served: int = 0
    spent_usd: float = 0.0
    pressure: float = 0.0

    @property
    def room_usd(self) -> float:
        """What is left for the rest of the horizon."""
        return max(0.0, self.usd - self.spent_usd)

    @property
    def due_usd(self) -> float:
        """What may be spent on each request that is left."""
        return self.room_usd / max(1, self.requests - self.served)

    @property
    def price(self) -> float:
        """What one US$ costs in reward, as Insight.price has it."""
        fair = max(self.usd, NANO) / self.requests
        return (self.pressure if self.room_usd > 0.0 else BEYOND) / fair

    def charged(self, cost_usd: float) -> Self:
        """After one request more. The last one of a horizon opens the next: all of the budget, and the price that was
        learned.
        """
        excess = min(STEEPEST, cost_usd / self.due_usd if self.due_usd > 0.0 else STEEPEST) - 1.0
        pressure = max(0.0, self.pressure + RATE / math.sqrt(self.requests) * excess)
        if self.served + 1 >= self.requests:
            return replace(self, served=0, spent_usd=0.0, pressure=pressure)
        return replace(self, served=self.served + 1, spent_usd=self.spent_usd + cost_usd, pressure=pressure)

    def corrected(self, change_usd: float) -> Self:
        """A bill that was charged already turned out higher by so much."""
        return replace(self, spent_usd=max(0.0, self.spent_usd + change_usd))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what `of` reads."""
        return asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None, *, usd: float, requests: int) -> Self:
        """The pacing as it was kept; from the beginning where nothing was, or where the horizon is another by now."""
        if kept is None or (kept.get("usd"), kept.get("requests")) != (usd, requests):
            return cls(usd=usd, requests=requests)
        return cls(**kept)
