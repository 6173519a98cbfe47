"""What all bandits share: what is hoped of each candidate, who may be chosen, and the draw itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.domain.insight import Insight
from crew_moe.domain.policy import BaselineShare
from crew_moe.ports import StrategyContext

Floats = npt.NDArray[np.float64]

UNKNOWN_WIDTH = 1.0  # of an expert that no reward is predicted for: the whole range of a reward
ONE_RANK = 0.5  # rankings that differ from the points by less than this stand side by side
NOTHING = Insight()


class Slate(NamedTuple):
    """The candidates that compete, by their places among all: of those nearest to the wanted tier the ones whose cost
    fits into what is left of the horizon's budget; where none does, the cheapest.

    `mean` is the expected reward less what the expert's cost is worth, `width` the standard deviation of the expected
    reward; each (competitors,).
    """

    places: list[int]
    size: int
    mean: Floats
    width: Floats
    room_usd: float | None

    @classmethod
    def of(cls, context: StrategyContext, candidates: Sequence[Candidate]) -> Self:
        """What `context.insight` says of the candidates; of whom it says nothing, the catalogue's quality counts."""
        insight = context.insight or NOTHING
        means, widths, price = insight.mean, insight.width, insight.price
        behind = [one.score - one.ranking for one in candidates]
        first = min(behind) + ONE_RANK
        places = [place for place, steps in enumerate(behind) if steps < first]
        if insight.room_usd is not None:
            places = fitting(places, candidates, insight.room_usd)
        rivals = candidates if len(places) == len(candidates) else [candidates[place] for place in places]
        mean = np.array([means.get(one.expert_id, one.quality) - price * one.cost_usd for one in rivals])
        width = np.array([widths.get(one.expert_id, UNKNOWN_WIDTH) for one in rivals])
        return cls(places, len(candidates), mean, width, insight.room_usd)

    def chances(
        self, shares: Sequence[float], candidates: Sequence[Candidate], baseline: BaselineShare | None
    ) -> list[float]:
        """The probability of every candidate, from those of the competitors; `baseline` keeps its share."""
        if len(self.places) == self.size:
            spread = list(shares)
        else:
            spread = [0.0] * self.size
            for place, share in zip(self.places, shares, strict=True):
                spread[place] = share
        return spread if baseline is None else with_share(spread, candidates, baseline, self.room_usd)


def fitting(places: list[int], candidates: Sequence[Candidate], room_usd: float) -> list[int]:
    """Those whose predicted cost fits; the cheapest where none does, for a bandit does not refuse: budgets do."""
    fits = [place for place in places if candidates[place].cost_usd <= room_usd]
    return fits or [min(places, key=lambda place: candidates[place].cost_usd)]


def only(place: int, count: int) -> list[float]:
    """All probability on one of `count`."""
    shares = [0.0] * count
    shares[place] = 1.0
    return shares


def with_share(
    chances: list[float], candidates: Sequence[Candidate], baseline: BaselineShare, room_usd: float | None = None
) -> list[float]:
    """The chances with at least its share for the baseline, where it is a candidate that fits into the room; the others
    give in proportion.

    Kept decision by decision and not on the average, so that what is logged stays the probability of the pick.
    """
    place = next((i for i, one in enumerate(candidates) if one.expert_id == baseline.expert_id), None)
    if place is None or chances[place] >= baseline.share:
        return chances
    if room_usd is not None and candidates[place].cost_usd > room_usd:
        return chances
    left = (1.0 - baseline.share) / (1.0 - chances[place])
    mixed = [chance * left for chance in chances]
    mixed[place] = baseline.share
    return mixed


def drawn(chances: Sequence[float], candidates: Sequence[Candidate], rng: Random) -> Pick:
    """One candidate, drawn with these probabilities by one number of `rng`; its probability is the propensity."""
    mark = rng.random() * sum(chances)
    reached = list(accumulate(chances))
    place = next((i for i, total in enumerate(reached) if mark < total), None)
    if place is None:  # rounding alone can leave the mark beyond the last
        place = max(i for i, chance in enumerate(chances) if chance > 0.0)
    return Pick(expert_id=candidates[place].expert_id, propensity=chances[place])
