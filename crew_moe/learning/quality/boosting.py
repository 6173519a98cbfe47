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

from crew_moe.learning.quality.forest import Forest
from crew_moe.screening.lessons import library

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boosting:
    """How trees are grown: how many, how much each counts, and what part of rows and features it sees."""

    trees: int = 100
    step: float = 0.06
    leaves: int = 6
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
    """The trees in one row; each sets some of the outputs."""
    counts = [tree.tree_.node_count for tree, _, _ in trees]
    roots = np.cumsum([0, *counts[:-1]]).astype(np.int32)
    feature, left, right = (np.zeros(sum(counts), dtype=np.int32) for _ in range(3))
    threshold, values = np.zeros(sum(counts)), np.zeros((sum(counts), outputs))
    for (tree, place, step), root, count in zip(trees, roots, counts, strict=True):
        inside, nodes = tree.tree_, slice(root, root + count)
        leaf, here = inside.children_left < 0, np.arange(root, root + count)
        feature[nodes] = np.where(leaf, 0, inside.feature)
        left[nodes] = np.where(leaf, here, inside.children_left + root)
        right[nodes] = np.where(leaf, here, inside.children_right + root)
        threshold[nodes] = np.where(leaf, 0.0, inside.threshold)
        values[nodes, place] = step * inside.value[:, :, 0]
    depth = max(int(tree.tree_.max_depth) for tree, _, _ in trees)
    return Forest(roots=roots, feature=feature, threshold=threshold, left=left, right=right, values=values, depth=depth)
