"""The price of money while the budget of a horizon is short, in a page that all processes share."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Final

from crew_moe.domain.page import Page
from crew_moe.domain.policy import Horizon
from crew_moe.errors import StateError
from crew_moe.learning.knapsack import Pacing
from crew_moe.learning.turn import Turn, changed
from crew_moe.ports import PageStore

PRICE: Final = "learning/price"


class PricePage:
    """Charges what decisions cost. Raises StateError."""

    def __init__(self, pages: PageStore, horizon: Horizon) -> None:
        self._pages = pages
        self._horizon = horizon

    def charge(self, cost_usd: float, now: datetime) -> None:
        """One request more was served, for so much."""
        self._change(lambda pacing: pacing.charged(cost_usd), now)

    def correct(self, change_usd: float, now: datetime) -> None:
        """What was charged turned out to be so much more."""
        self._change(lambda pacing: pacing.corrected(change_usd), now)

    def read(self, now: datetime) -> Pacing:
        """Where the horizon stands."""
        return self._pacing(self._pages.read(PRICE, now))

    def _change(self, change: Callable[[Pacing], Pacing], now: datetime) -> None:
        def charged(page: Page | None) -> Turn[None]:
            return Turn(json.dumps(change(self._pacing(page)).as_dict()).encode(), None)

        changed(self._pages, PRICE, charged, now)

    def _pacing(self, page: Page | None) -> Pacing:
        try:
            kept = None if page is None else json.loads(page.content)
            return Pacing.of(kept, usd=float(self._horizon.usd), requests=self._horizon.requests)
        except (ValueError, TypeError, AttributeError) as error:
            raise StateError("the page of the horizon's price can't be read") from error
