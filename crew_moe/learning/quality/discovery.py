"""Finding the tasks among training rows, and learning to tell them and what experts are worth at each.

Labels are taken where rows have them, with their parts; a label of many rows that has none, and rows without a label,
are clustered by meaning and form. A task's mean is shrunk to that of its label and a label's to that of all rows, by as
many rows as the data itself asks for: the less tasks differ beyond chance, the more (empirical Bayes; Efron and Morris
1973).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.quality.part import split
from crew_moe.learning.quality.table import Table, leaves_of
from crew_moe.learning.quality.tasks import Tasks
from crew_moe.screening.lessons import library

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST: Final = 20  # rows of a part of a label
CLUSTER_ROWS: Final = 300  # rows for each cluster
MOST_CLUSTERS: Final = 24
MOST_SHRUNK: Final = 1e6
LEAST_SHRUNK: Final = 5.0
INVERSE_PENALTY: Final = 0.3
_ROUNDS: Final = 60
_SAME: Final = 9  # decimals to which rows are told apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaves:
    """The task of each row, `of` (rows,), as a number; `labels` has the label of each task."""

    of: Ints
    labels: tuple[str, ...]


def discovered(table: Table, inputs: Floats, seed: int) -> Leaves:
    """The tasks among the rows; `inputs` (rows, n) are what clusters are made of."""
    named = leaves_of(table, FEWEST)
    keys: list[tuple[str, str]] = list(named)
    for label in sorted({label for label, _ in named}):
        rows = [row for row, pair in enumerate(named) if pair[0] == label]
        if len({named[row][1] for row in rows}) == 1:
            for row, cluster in zip(rows, _clusters(inputs[rows], seed), strict=True):
                keys[row] = (label, f"cluster {cluster}")
    found = sorted(set(keys))
    place = {pair: number for number, pair in enumerate(found)}
    return Leaves(of=np.array([place[pair] for pair in keys]), labels=tuple(label for label, _ in found))


def learned_tasks(
    leaves: Leaves, rows: Ints, inputs: Floats, quality: Floats, known: NDArray[np.bool_], seed: int
) -> Tasks:
    """What there is to know of the tasks from these rows. `quality` (rows, experts) is that above the mean, 0 where it
    is not `known`; `inputs` (rows, n).
    """
    of = leaves.of[rows]
    weights, bias = _classifier(of, len(leaves.labels), inputs, seed)
    means, variances = _shrunk_means(leaves, of, quality, known)
    return Tasks(labels=leaves.labels, weights=weights, bias=bias, means=means, variances=variances)


def _clusters(inputs: Floats, seed: int) -> Sequence[int]:
    distinct = len(np.unique(inputs.round(_SAME), axis=0))
    count = min(MOST_CLUSTERS, len(inputs) // CLUSTER_ROWS, distinct)
    if count < 2:
        return [0] * len(inputs)
    fitted = library("sklearn.cluster").KMeans(count, n_init=2, random_state=seed).fit_predict(inputs)
    return [int(one) for one in fitted]


def _classifier(of: Ints, tasks: int, inputs: Floats, seed: int) -> tuple[Floats, Floats]:
    """Logits of all tasks; one without a row here is as good as impossible."""
    weights, bias = np.zeros((inputs.shape[1], tasks)), np.full(tasks, -30.0)
    present = np.unique(of)
    if len(present) == 1:
        bias[present] = 0.0
        return weights, bias
    regression = library("sklearn.linear_model").LogisticRegression(
        C=INVERSE_PENALTY, max_iter=_ROUNDS, tol=1e-3, random_state=seed
    )
    unfinished = library("sklearn.exceptions").ConvergenceWarning
    with warnings.catch_warnings(action="ignore", category=unfinished):  # after its rounds it is good enough
        regression.fit(inputs, of)
    if len(present) == 2:  # the library gives one logit for two
        weights[:, present[1]], bias[present[1]], bias[present[0]] = regression.coef_[0], regression.intercept_[0], 0.0
    else:
        weights[:, present], bias[present] = regression.coef_.T, regression.intercept_
    return weights, bias


def _shrunk_means(leaves: Leaves, of: Ints, quality: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    names = sorted(set(leaves.labels))
    parent = np.array([names.index(label) for label in leaves.labels])
    nothing = np.zeros((1, quality.shape[1]))
    by_label, _ = _toward(nothing[np.zeros(len(names), dtype=np.int64)], parent[of], quality, known)
    return _toward(by_label[parent], of, quality, known)


def _toward(base: Floats, of: Ints, quality: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Means by group, (groups, experts), shrunk to `base`, and their variances."""
    groups, experts = base.shape
    count, total = np.zeros((groups, experts)), np.zeros((groups, experts))
    np.add.at(count, of, known.astype(np.float64))
    np.add.at(total, of, np.where(known, quality, 0.0))
    mean = total / np.maximum(count, 1.0)
    left = np.where(known, quality - mean[of], 0.0)
    noise = float((left * left).sum() / max(1.0, known.sum() - (count > 0).sum()))
    shrunk = _pseudo_rows(mean - base, count, left, known)
    return base + (mean - base) * count / (count + shrunk), noise / (count + shrunk)


def _pseudo_rows(apart: Floats, count: Floats, left: Floats, known: NDArray[np.bool_]) -> float:
    """How many rows the base is worth: the variance within groups over that between them, of differences of experts."""
    if apart.shape[1] > 1 and known.all():
        _, apart = split(apart)
        _, left = split(left)
    full = count > 1
    if not full.any() or len(count) < 2:
        return LEAST_SHRUNK
    noise = float((left * left).sum() / max(1.0, known.sum() - full.sum()))
    weight = np.where(full, count, 0.0)
    between = float((weight * apart**2).sum() / weight.sum()) - noise * float(full.sum() / weight.sum())
    return min(MOST_SHRUNK, max(LEAST_SHRUNK, noise / max(between, 1e-9)))
