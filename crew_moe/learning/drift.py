"""Shares over time, and whether the last window's differ from the first one's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LEAST: Final = 20  # fewer decisions in a window say nothing about a change
DRAWS: Final = 2_000
SMOOTHING: Final = 0.5  # added to each count, so that an expert new to a window has no infinite index


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How often each expert was chosen from `start` to `end`."""

    start: datetime
    end: datetime
    counts: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        return sum(count for _, count in self.counts)

    def share(self, expert_id: str) -> float:
        """0 of nothing."""
        return dict(self.counts).get(expert_id, 0) / self.total if self.total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        shares = {name: count / self.total for name, count in self.counts}
        return {"start": self.start.isoformat(), "end": self.end.isoformat(), "total": self.total, "shares": shares}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The last window against the first.

    `total_variation` is the share of decisions that went elsewhere; `stability_index` is the PSI of credit scoring
    (below 0.1 little changed, above 0.25 much). `chi_square` is Pearson's, and `p_value` how often chance alone would
    give as much, by permutation, which is right for few decisions and rare experts too.
    """

    total_variation: float
    stability_index: float
    chi_square: float
    p_value: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def windows(chosen: Sequence[tuple[datetime, str]], count: int) -> tuple[Window, ...]:
    """So many windows of equal length over (when, expert id), oldest first; one where all was in one moment."""
    if not chosen:
        return ()
    moments = [moment for moment, _ in chosen]
    start, end = min(moments), max(moments)
    width = (end - start) / count
    if not width:
        return (Window(start=start, end=end, counts=_counted(name for _, name in chosen)),)
    within: list[list[str]] = [[] for _ in range(count)]
    for moment, name in chosen:
        within[min(count - 1, int((moment - start) / width))].append(name)
    return tuple(
        Window(start=start + number * width, end=start + (number + 1) * width, counts=_counted(names))
        for number, names in enumerate(within)
    )


def drift(first: Window, last: Window, rng: np.random.Generator) -> Drift | None:
    """What changed between two windows; None where one of them has fewer than 20 decisions."""
    if min(first.total, last.total) < LEAST:
        return None
    names = sorted({name for window in (first, last) for name, _ in window.counts})
    table = np.array([[dict(window.counts).get(name, 0) for name in names] for window in (first, last)])
    smoothed = table + SMOOTHING
    p, q = smoothed / smoothed.sum(axis=1, keepdims=True)
    shares = table / table.sum(axis=1, keepdims=True)
    found = float(_chi_square(table[:1], table.sum(axis=0), first.total)[0])
    return Drift(
        total_variation=float(np.abs(shares[0] - shares[1]).sum() / 2),
        stability_index=float(((p - q) * np.log(p / q)).sum()),
        chi_square=found,
        p_value=_p_value(found, table, rng),
    )


def _p_value(found: float, table: NDArray[np.int64], rng: np.random.Generator) -> float:
    """How often a first window drawn at random from all decisions differs as much; never 0."""
    both, size = table.sum(axis=0), int(table[0].sum())
    drawn = rng.multivariate_hypergeometric(both, size, size=DRAWS)  # (draws, experts)
    as_much = _chi_square(drawn, both, size) >= found * (1 - 1e-12)
    return float((1 + as_much.sum()) / (1 + DRAWS))


def _chi_square(first: NDArray[np.int64], both: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Pearson's statistic of tables of two windows, of which the first has `size` decisions. (tables, experts)"""
    total = both.sum()
    due_first = both * (size / total)
    due_last = both - due_first
    off = (first - due_first) ** 2 * (1 / due_first + 1 / due_last)
    summed: NDArray[np.float64] = off.sum(axis=1)
    return summed


def _counted(names: Any) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
