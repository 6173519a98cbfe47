"""Calibration: whether the quality that was predicted is the quality that was observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any, Final

BINS: Final = 10
Pair = tuple[float, float]  # predicted, observed; in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """The answers whose predicted quality lies from `low` to below `high` (the last bin: up to it)."""

    low: float
    high: float
    count: int
    predicted: float
    observed: float
    error: float | None  # standard error of `observed`; None for one answer alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far predictions and observations of `count` answers lie apart.

    `ece` is the mean distance within the bins, weighted by their counts (Naeini et al. 2015); `brier` the mean squared
    distance of the answers themselves; `bias` the mean of predicted minus observed.
    """

    count: int
    ece: float
    brier: float
    bias: float
    bins: tuple[ReliabilityBin, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "bins": [asdict(one) for one in self.bins]}


def calibration(pairs: Sequence[Pair]) -> Calibration | None:
    """The calibration of these answers, in ten bins of equal width; None without any."""
    if not pairs:
        return None
    sorted_in: list[list[Pair]] = [[] for _ in range(BINS)]
    for pair in pairs:
        sorted_in[min(BINS - 1, max(0, int(pair[0] * BINS)))].append(pair)
    bins = tuple(_bin(number, within) for number, within in enumerate(sorted_in) if within)
    return Calibration(
        count=len(pairs),
        ece=sum(one.count * abs(one.predicted - one.observed) for one in bins) / len(pairs),
        brier=fmean((predicted - observed) ** 2 for predicted, observed in pairs),
        bias=fmean(predicted - observed for predicted, observed in pairs),
        bins=bins,
    )


def _bin(number: int, within: Sequence[Pair]) -> ReliabilityBin:
    observed = [pair[1] for pair in within]
    return ReliabilityBin(
        low=number / BINS,
        high=(number + 1) / BINS,
        count=len(within),
        predicted=fmean(pair[0] for pair in within),
        observed=fmean(observed),
        error=stdev(observed) / sqrt(len(observed)) if len(observed) > 1 else None,
    )
