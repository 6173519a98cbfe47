"""Many small trees, each giving a value for every output: their sum is the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAF: Final = -1
_AT_ONCE: Final = 256  # rows; the values of all trees are held for that many


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Trees as arrays (trees, nodes). A row goes `left` where its `feature` is at most the threshold, else to the node
    behind; `left` of a leaf is LEAF. `values` are (trees, nodes, outputs); `depth` is that of the deepest tree.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    values: NDArray[np.float64]
    depth: int

    def predict(self, rows: Floats) -> Floats:
        """(rows, features) -> (rows, outputs)."""
        parts = [self._predicted(rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, self.values.shape[2]))

    def _predicted(self, rows: Floats) -> Floats:
        trees = np.arange(len(self.feature))
        across = np.arange(len(rows))[:, None]
        node = np.zeros((len(rows), len(trees)), dtype=np.int32)
        for _ in range(self.depth):
            left = self.left[trees, node]
            goes_left = rows[across, self.feature[trees, node]] <= self.threshold[trees, node]
            node = np.where(left == LEAF, node, np.where(goes_left, left, self.right[trees, node]))
        total: Floats = self.values[trees, node].sum(axis=1)
        return total
