"""How many decisions an experiment takes, and what it can see with those that it gets."""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

from crew_moe.learning.experiment.sequence import TUNED, half_width

WIDEST: Final = 0.5
"""The largest standard deviation of what lies between 0 and 1."""

POWER: Final = 0.8
_NORMAL: Final = NormalDist()


class Samples(NamedTuple):
    """Decisions with a result that each arm needs."""

    control: int
    candidate: int

    @property
    def total(self) -> int:
        return self.control + self.candidate


def spread_of_rate(rate: float) -> float:
    """The standard deviation of what happens at this rate."""
    return sqrt(rate * (1.0 - rate))


def samples_needed(
    effect: float, spread: float, *, share: float = 0.5, alpha: float = 0.05, power: float = POWER, peeking: bool = True
) -> Samples:
    """How many it takes to find a difference of means as large as `effect` with this `power`. `spread` is the standard
    deviation of one observation. Looking at every moment (`peeking`) takes about twice as many as looking once.

    >>> samples_needed(0.05, 0.5, peeking=False).control
    1570
    >>> samples_needed(0.05, 0.5).control
    3335
    """
    total = ceil((_reach(alpha, power, peeking=peeking) * spread / effect) ** 2 * _price(share))
    candidate = ceil(total * share)
    return Samples(max(1, ceil(total * (1.0 - share))), max(1, candidate))


def detectable(
    n: int, spread: float, *, share: float = 0.5, alpha: float = 0.05, power: float = POWER, peeking: bool = True
) -> float:
    """The smallest difference of means that `n` decisions of both arms together find with this `power`.

    >>> round(detectable(6_670, 0.5), 3)
    0.05
    """
    return _reach(alpha, power, peeking=peeking) * spread * sqrt(_price(share) / n)


def _reach(alpha: float, power: float, *, peeking: bool) -> float:
    """How many standard errors the effect must be away."""
    bound = half_width(1.0, 1.0, plan=TUNED, alpha=alpha) if peeking else _NORMAL.inv_cdf(1.0 - alpha / 2.0)
    return bound + _NORMAL.inv_cdf(power)


def _price(share: float) -> float:
    """The variance of a difference of means times the decisions of both arms, per variance of one observation."""
    return 1.0 / share + 1.0 / (1.0 - share)
