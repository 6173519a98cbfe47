"""`score`: the eligible expert with the most points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from crew_moe.domain.decision import Candidate, Pick
from crew_moe.ports import StrategyContext


@dataclass(frozen=True, slots=True)
class HighestScore:
    """Take the highest ranking: the points of seed 001's seven factors, the wanted tier first.

    Of equals the first in the order of expert ids wins, so the same request always gets the same answer.
    """

    greedy: ClassVar[bool] = True

    def select(self, context: StrategyContext, candidates: Sequence[Candidate], rng: Random) -> Pick:  # noqa: ARG002 - as asked
        best = max(candidates, key=lambda candidate: candidate.ranking)
        return Pick(expert_id=best.expert_id, propensity=1.0)
