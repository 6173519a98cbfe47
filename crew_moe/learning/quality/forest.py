"""Many small trees, each giving a value for every output: their sum is the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_AT_ONCE: Final = 256  # rows; the values of all trees are held for that many


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """All nodes of all trees in one row, (nodes,), and where each tree begins, `roots` (trees,). From a node a row goes
    `left` where its `feature` is at most the threshold, else `right`; from a leaf both lead back to it. `values` are
    (nodes, outputs); `depth` is that of the deepest tree.
    """

    roots: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    values: NDArray[np.float64]
    depth: int

    def predict(self, rows: Floats) -> Floats:
        """(rows, features) -> (rows, outputs)."""
        parts = [self._predicted(rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, self.values.shape[1]))

    def _predicted(self, rows: Floats) -> Floats:
        flat, starts = rows.ravel(), np.arange(len(rows))[:, None] * rows.shape[1]
        node = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        for _ in range(self.depth):
            goes_left = flat.take(starts + self.feature.take(node)) <= self.threshold.take(node)
            node = np.where(goes_left, self.left.take(node), self.right.take(node))
        total: Floats = self.values.take(node, axis=0).sum(axis=1)
        return total
