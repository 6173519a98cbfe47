"""Trees that each correct a little of what the trees before them left: gradient boosting with many outputs.

Every tree sees part of the rows and part of the features, and changes the sum by a small step (Friedman 2002). The
level of a row, shared by all experts, has trees of its own: the differences between experts, which a choice depends on,
are much smaller and would never be split by otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.quality.forest import LEAF, Forest
from crew_moe.screening.lessons import library

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosting:
    """How trees are grown: how many, how much each counts, and what part of rows and features it sees."""

    trees: int = 120
    step: float = 0.06
    leaves: int = 8
    rows: float = 0.6
    features: float = 0.3
    fewest: int = 60  # rows in a leaf, where there are many
    fewest_share: int = 60  # 1 / part of all rows in a leaf, where there are few


BOOSTING: Final = Boosting()
_FEWEST: Final = 10


def grown(inputs: Floats, wanted: Floats, seed: int, how: Boosting = BOOSTING) -> Forest:
    """Trees from (rows, features) to (rows, experts); the last output is the level, the others the differences."""
    level = wanted.mean(axis=1, keepdims=True)
    differences = wanted - level
    read = inputs.astype(np.float32)
    outputs = wanted.shape[1] + 1
    grown_trees = [(tree, slice(outputs - 1, outputs), how.step) for tree in _boosted(read, level, seed, how)]
    if wanted.shape[1] > 1:
        grown_trees += [(tree, slice(0, outputs - 1), how.step) for tree in _boosted(read, differences, seed + 1, how)]
    return _packed(grown_trees, outputs)


def _boosted(inputs: NDArray[np.float32], wanted: Floats, seed: int, how: Boosting) -> list[Any]:
    regressor = library("sklearn.tree").DecisionTreeRegressor
    rng = np.random.default_rng(seed)
    count = len(inputs)
    fewest = max(_FEWEST, min(how.fewest, count // how.fewest_share))
    total = np.zeros_like(wanted)
    trees = []
    for number in range(how.trees):
        rows = rng.permutation(count)[: max(2, int(how.rows * count))]
        tree = regressor(
            max_leaf_nodes=how.leaves,
            min_samples_leaf=max(_FEWEST // 2, int(fewest * how.rows)),
            max_features=how.features,
            random_state=seed * 1009 + number,
        )
        tree.fit(inputs[rows], (wanted - total)[rows])
        total += how.step * tree.predict(inputs).reshape(total.shape)
        trees.append(tree)
    return trees


def _packed(trees: Sequence[tuple[Any, slice, float]], outputs: int) -> Forest:
    nodes = max(tree.tree_.node_count for tree, _, _ in trees)
    shape = (len(trees), nodes)
    feature, left, right = (np.zeros(shape, dtype=np.int32) for _ in range(3))
    left[:] = LEAF
    threshold, values = np.zeros(shape), np.zeros((*shape, outputs))
    for number, (tree, place, step) in enumerate(trees):
        inside, count = tree.tree_, tree.tree_.node_count
        feature[number, :count] = np.maximum(inside.feature, 0)
        left[number, :count] = inside.children_left
        right[number, :count] = np.maximum(inside.children_right, 0)
        threshold[number, :count] = np.where(inside.children_left == LEAF, 0.0, inside.threshold)
        values[number, :count, place] = step * inside.value[:, :, 0]
    depth = max(tree.tree_.max_depth for tree, _, _ in trees)
    return Forest(feature=feature, threshold=threshold, left=left, right=right, values=values, depth=int(depth))
