"""Hashed words as a vector: how much each of those known from training weighs in a text, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.quality.sight import DIMENSIONS, Seen

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """`grams` are the hashes known from training, in order; `rarity` weighs them; `table` holds what each of them says,
    (grams, outputs). `position` finds a hash's row: (DIMENSIONS,), -1 for one that is not known.
    """

    grams: NDArray[np.int64]
    rarity: NDArray[np.float32]
    table: NDArray[np.float32]
    position: NDArray[np.int32]

    @classmethod
    def of(cls, grams: NDArray[np.int64], rarity: NDArray[np.float32], table: NDArray[np.float32]) -> Words:
        """With the index of `grams` made."""
        position = np.full(DIMENSIONS, -1, dtype=np.int32)
        position[grams] = np.arange(len(grams), dtype=np.int32)
        return cls(grams=grams, rarity=rarity, table=table, position=position)

    def vector(self, seen: Seen) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The rows of the known words of a text, and their weights; the vector's length is 1, or 0 without any."""
        found = self.position[seen.grams]
        known = found >= 0
        rows = found[known]
        weights = seen.weights[known] * self.rarity[rows]
        length = float(np.sqrt(weights @ weights))
        return rows, weights / np.float32(length) if length else weights

    def sums(self, seen: Sequence[Seen]) -> Floats:
        """What the words of each text add up to: (texts, outputs)."""
        total = np.zeros((len(seen), self.table.shape[1]))
        for number, one in enumerate(seen):
            rows, weights = self.vector(one)
            total[number] = weights @ self.table[rows]
        return total
