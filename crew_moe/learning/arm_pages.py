"""The arms in pages that all processes share: one for each expert, and one for what is common to all.

Each page is changed by itself, by compare-and-swap: what two processes learn at once is learned in some order, and
nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from crew_moe.domain.page import Page
from crew_moe.domain.policy import BanditPolicy
from crew_moe.learning.arms import Arm, Arms, pool_precision
from crew_moe.learning.context import SIZE, precision
from crew_moe.learning.turn import Turn, changed
from crew_moe.ports import PageStore

Floats = npt.NDArray[np.float64]

POOL: Final = "learning/arms/pool"
OF: Final = "learning/arms/of/"


class Lesson(NamedTuple):
    """What an arm is told of one answer: `reward` counts as `weight` of an observation, 0-1; what was told before of
    the same answer, `age` observations ago, changes by `change`. Rewards here are what an answer was worth beyond what
    was expected of its expert.
    """

    weight: float
    reward: float
    change: float = 0.0
    age: float = 0.0

    def teach(self, arms: Arms, expert_id: str, x: Floats) -> None:
        if self.weight > 0.0:
            # An observation of weight w is one whose context and reward are sqrt(w) as large.
            root = math.sqrt(self.weight)
            arms.learn(expert_id, root * x, root * self.reward)
        if self.change:
            arms.correct(expert_id, x, self.change, age=self.age)


@dataclass(frozen=True, slots=True)
class ArmPages:
    """Reads and teaches the arms. Raises StateError for pages that hold something else, and where the store is gone."""

    pages: PageStore
    bandit: BanditPolicy

    def teach(self, expert_id: str, x: Floats, lesson: Lesson, now: datetime) -> None:
        """One arm learns, and what is common to all with it."""
        own = self.pages.read(OF + expert_id, now)
        common: Page | None = None

        def pool(page: Page | None) -> Turn[None]:
            nonlocal common
            common = page
            taught = self._taught(expert_id, x, lesson, own, page)
            return Turn(None if taught.pool is None else taught.pool.to_bytes(), None)

        def arm(page: Page | None) -> Turn[None]:
            return Turn(self._taught(expert_id, x, lesson, page, common).arm(expert_id).to_bytes(), None)

        changed(self.pages, POOL, pool, now)
        changed(self.pages, OF + expert_id, arm, now)

    def clock(self, now: datetime) -> float:
        """How many observations all arms have together; 0 where nothing fades, so that nobody has to know."""
        if self.bandit.half_life is None:
            return 0.0
        page = self.pages.read(POOL, now)
        return 0.0 if page is None else Arm.from_bytes(page.content).at

    def read(self, expert_ids: Iterable[str], now: datetime) -> Arms:
        """The arms of these experts; those of whom nothing is known are fresh."""
        known = {page.name.removeprefix(OF): page for page in self.pages.pages(OF, now)}
        arms = {one: self._arm(known.get(one)) for one in expert_ids}
        return self._stacked(arms, self.pages.read(POOL, now))

    def _taught(self, expert_id: str, x: Floats, lesson: Lesson, own: Page | None, common: Page | None) -> Arms:
        arms = self._stacked({expert_id: self._arm(own)}, common)
        lesson.teach(arms, expert_id, x)
        return arms

    def _stacked(self, arms: dict[str, Arm], common: Page | None) -> Arms:
        ridge = precision(self.bandit.ridge)
        return Arms(arms, ridge, pool=_arm(common, pool_precision(ridge)), half_life=self.bandit.half_life)

    def _arm(self, page: Page | None) -> Arm:
        return _arm(page, precision(self.bandit.ridge))


def _arm(page: Page | None, prior: Floats) -> Arm:
    """One that was made for other contexts than today's knows nothing of these."""
    arm = None if page is None else Arm.from_bytes(page.content)
    return Arm.fresh(prior) if arm is None or len(arm.moment) != SIZE else arm
