"""`learned`: the most points, with the quality that a model predicts for this very text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.ports import StrategyContext
from crew_moe.strategies.score import HighestScore


@dataclass(frozen=True, slots=True)
class PredictedQuality:
    """Take the highest ranking, where the points for quality are those of the predicted quality.

    The prediction takes the place of the catalogue's constant in the points alone: a floor (`min_quality`), a tier, a
    ceiling hold as they always do. Being `informed` is all that sets it apart from `score`; where nothing was
    predicted the two are the same.
    """

    greedy: ClassVar[bool] = True
    informed: ClassVar[bool] = True

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:
        return HighestScore().select(context, candidates, rng)
