"""Which remembered question is nearest to a new one, by the cosine of their embeddings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

G = TypeVar("G", bound=Hashable)
Q = TypeVar("Q", bound=Hashable)
Vector = NDArray[np.float32]


@dataclass(slots=True)
class Group(Generic[Q]):
    """`matrix` (rows, dimensions) has room for more rows than there are questions; `oldest` is overwritten next."""

    matrix: NDArray[np.float32]
    questions: list[Q] = field(default_factory=list)
    oldest: int = 0


class Nearness(Generic[G, Q]):
    """At most `rows` questions, in groups that are never mixed. The group that was not used for longest goes first,
    then a group's own oldest questions. Vectors have length 1. Not for threads.

    >>> near: Nearness[str, str] = Nearness(rows=10)
    >>> near.add("model 1", "how do I sort?", np.array([0.6, 0.8], dtype=np.float32))
    >>> near.nearest("model 1", np.array([0.8, 0.6], dtype=np.float32))
    ('how do I sort?', 0.96)
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._groups: OrderedDict[G, Group[Q]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(group.questions) for group in self._groups.values())

    def add(self, key: G, question: Q, vector: Vector) -> None:
        if not self._rows:
            return
        group = self._groups.get(key)
        if group is None or group.matrix.shape[1] != len(vector):
            group = self._groups[key] = Group(np.zeros((min(8, self._rows), len(vector)), dtype=np.float32))
        self._groups.move_to_end(key)
        if len(self) >= self._rows and len(self._groups) > 1:
            self._groups.popitem(last=False)
        used = len(group.questions)
        if used == self._rows:
            group.questions[group.oldest], group.matrix[group.oldest] = question, vector
            group.oldest = (group.oldest + 1) % used
            return
        if used == len(group.matrix):
            grown = np.zeros((min(2 * used, self._rows), len(vector)), dtype=np.float32)
            grown[:used] = group.matrix
            group.matrix = grown
        group.questions.append(question)
        group.matrix[used] = vector

    def nearest(self, key: G, vector: Vector) -> tuple[Q, float] | None:
        """The group's nearest question and how near it is, at most 1; None where the group has none."""
        group = self._groups.get(key)
        if group is None or group.matrix.shape[1] != len(vector):
            return None
        self._groups.move_to_end(key)
        cosines: NDArray[Any] = group.matrix[: len(group.questions)] @ vector
        place = int(cosines.argmax())
        return group.questions[place], round(min(float(cosines[place]), 1.0), 6)
