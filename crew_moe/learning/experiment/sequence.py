"""Confidence sequences: intervals that hold at every moment at once, however often somebody looks.

The mixture of a Gaussian random walk, with the variance taken from the data: asymptotic confidence sequences
(Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2021, "Time-uniform central limit theory and asymptotic confidence
sequences"), which is what the mixture sequential probability ratio test inverts to (Johari, Koomen, Pekelis, Walsh
2017, "Peeking at A/B tests"). `n` counts decisions of both arms, `plan` those at which the interval is to be narrowest.
"""

from __future__ import annotations

from math import exp, inf, log, sqrt
from typing import Final, NamedTuple

TUNED: Final = 0.1
"""The part of the planned decisions at which an interval is to be narrowest: at their end it is 7 % wider than it could
be, and a fiftieth of the way half as wide as if it were tuned to the end.
"""


class Interval(NamedTuple):
    """An estimate, and what it lies between at the promised level."""

    estimate: float
    low: float
    high: float


def progress(n: float, plan: float, alpha: float) -> float:
    """How far the mixture has come, in units of its prior: 0 at the start."""
    narrowest = -2.0 * log(alpha)
    return (narrowest + log(narrowest + 1.0)) * n / plan


def half_width(variance: float, n: float, *, plan: float, alpha: float) -> float:
    """Half the width of the interval around an estimate of this variance.

    >>> round(half_width(1.0, 1000, plan=1000, alpha=0.05), 2)  # 1.96 if somebody looked once
    3.04
    """
    if n <= 0:
        return inf
    come = progress(n, plan, alpha)
    return sqrt(variance * (1.0 + 1.0 / come) * log((1.0 + come) / alpha**2))


def interval(estimate: float, variance: float, n: float, *, plan: float, alpha: float) -> Interval:
    """What holds at every moment with probability 1 - alpha."""
    half = half_width(variance, n, plan=plan, alpha=alpha)
    return Interval(estimate, estimate - half, estimate + half)


def p_value(estimate: float, variance: float, n: float, *, plan: float, alpha: float) -> float:
    """The smallest level at which the sequence of intervals excludes 0 now; valid at every moment."""
    if n <= 0 or estimate == 0.0:
        return 1.0
    if variance <= 0.0:
        return 0.0
    come = progress(n, plan, alpha)
    return min(1.0, sqrt(1.0 + come) * exp(-estimate * estimate / variance * come / (2.0 * (1.0 + come))))
