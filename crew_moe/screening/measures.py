"""How well scores and spans match what people said: plain counting, no model and no table library.

Scores are higher for worse texts. `labels` are 1 (the concern) or 0, `scores` floats of the same length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crew_moe.domain.screening import THRESHOLD

STRICT_FPR: Final = 0.01


def auroc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """The chance that a positive scores above a negative, ties counting half; None when either is missing.

    >>> auroc([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1])
    0.875
    """
    truth, given = np.asarray(labels) == 1, np.asarray(scores, dtype=float)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return None
    _, where, counts = np.unique(given, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of each value, from 1
    above = float(ranks[where][truth].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def threshold_at(negatives: ArrayLike, rate: float) -> float:
    """The smallest threshold at which at most `rate` of the negatives score as high; raises ValueError without any.

    >>> threshold_at([0.1, 0.2, 0.3, 0.4], 0.25) > 0.3
    True
    """
    ordered = np.sort(np.asarray(negatives, dtype=float))
    if not len(ordered):
        raise ValueError("a rate needs at least one negative")
    spared = int(np.floor(rate * len(ordered)))
    return float(np.nextafter(ordered[max(0, len(ordered) - spared - 1)], np.inf))


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Scored texts with what is known of each; `ordinary` marks the negatives that count for the false alarms."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    sources: NDArray[np.str_]
    ordinary: NDArray[np.bool_]

    def figures(self) -> dict[str, Any]:
        """JSON-ready: areas under the curve, and rates at 1 % false alarms and at the shipped threshold."""
        positive = self.labels == 1
        told = positive | self.ordinary
        strict = threshold_at(self.scores[self.ordinary], STRICT_FPR) if self.ordinary.any() else THRESHOLD
        return {
            "n": len(self.labels),
            "n_pos": int(positive.sum()),
            "n_ordinary": int(self.ordinary.sum()),
            "auroc": {
                "all": auroc(self.labels, self.scores),
                "pos_vs_ordinary": auroc(self.labels[told], self.scores[told]),
            },
            "at_1pct_fpr": self.rates(strict),
            "at_shipped_threshold": self.rates(THRESHOLD),
        }

    def rates(self, threshold: float) -> dict[str, Any]:
        """What is flagged from `threshold` on: recall, false alarms, and both by source."""
        flagged, positive = self.scores >= threshold, self.labels == 1
        return {
            "threshold": threshold,
            "fpr_ordinary": _mean(flagged[self.ordinary]),
            "recall": _mean(flagged[positive]),
            "recall_by_source": self._by_source(flagged, positive),
            "fpr_by_source": self._by_source(flagged, ~positive),
        }

    def _by_source(self, flagged: NDArray[np.bool_], of: NDArray[np.bool_]) -> dict[str, float | None]:
        names = sorted(set(self.sources[of].tolist()))
        return {name: _mean(flagged[of & (self.sources == name)]) for name in names}


def _mean(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if len(flags) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Hits, false alarms and misses."""

    hits: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(hits=self.hits + other.hits, false=self.false + other.false, missed=self.missed + other.missed)

    def figures(self) -> dict[str, float | int | None]:
        """Precision, recall and F1; None where nothing could be counted."""
        wanted, given = self.hits + self.missed, self.hits + self.false
        return {
            "precision": self.hits / given if given else None,
            "recall": self.hits / wanted if wanted else None,
            "f1": 2 * self.hits / (wanted + given) if wanted + given else None,
            "gold": wanted,
        }


def total(tallies: Mapping[str, Tally], names: Sequence[str]) -> Tally:
    """The sum over these names."""
    return sum((tallies.get(name, Tally()) for name in names), Tally())
