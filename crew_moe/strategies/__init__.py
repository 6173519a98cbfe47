"""Strategies: the algorithms that choose among eligible experts. One file each, one line here.

A strategy has `select(context, candidates, rng) -> Pick`. One that always takes the highest ranking says so with
`greedy = True`: the engine then reads the choice off its columns and never builds the candidates. One for which the
points are to count the quality that was predicted for the text says `informed = True`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crew_moe.ports import Strategy
from crew_moe.strategies.bandits import BANDITS
from crew_moe.strategies.learned import PredictedQuality
from crew_moe.strategies.rule import FirstRule
from crew_moe.strategies.score import HighestScore

STRATEGIES: Final[Mapping[str, Strategy]] = {
    "score": HighestScore(),
    "rule": FirstRule(),
    "learned": PredictedQuality(),
    **BANDITS,
}

__all__ = ["STRATEGIES", "FirstRule", "HighestScore", "PredictedQuality"]
