"""Contextual bandits: strategies that choose by what earlier rewards taught, and try what they know too little of.

One policy a file. Each has `chances(context, candidates, rng)`, the probability of every candidate, and `select`, which
draws from exactly those, so that the logged propensity is that of the pick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crew_moe.ports import Strategy
from crew_moe.strategies.bandits.epsilon_greedy import EpsilonGreedy
from crew_moe.strategies.bandits.linthompson import LinThompson
from crew_moe.strategies.bandits.linucb import LinUCB
from crew_moe.strategies.bandits.squarecb import SquareCB

BANDITS: Final[Mapping[str, Strategy]] = {
    "linucb": LinUCB(),
    "lints": LinThompson(),
    "epsilon_greedy": EpsilonGreedy(),
    "squarecb": SquareCB(),
}

__all__ = ["BANDITS", "EpsilonGreedy", "LinThompson", "LinUCB", "SquareCB"]
