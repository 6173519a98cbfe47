"""Embedders for tests: what they tell of a text is in none of its words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Parity:
    """Whether a text's letters add up to an odd number or an even one, and four coordinates of noise."""

    version = "parity-1"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.array([_row(text) for text in texts], dtype=np.float32)
        found: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return found


class Newer(Parity):
    """The same by another version."""

    version = "parity-2"


class Failing(Parity):
    """One whose model is gone."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise RuntimeError(f"can't read {texts[0]}")


class Long(Parity):
    """Rows of another length than 1."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return super().embed(texts) * 3


class Fewer(Parity):
    """A row too few."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return super().embed(texts)[1:]


class Lost:
    """One whose weights are not to be found."""

    @property
    def version(self) -> str:
        raise OSError("no weights")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NotImplementedError


def made() -> Parity:
    """One by a factory."""
    return Parity()


def needs(model: str) -> Parity:
    """One that can't be made without being told more."""
    raise ValueError(model)


def odd(text: str) -> bool:
    """What Parity tells."""
    return sum(map(ord, text)) % 2 == 1


def _row(text: str) -> list[float]:
    number = sum(map(ord, text))
    return [1.0 if number % 2 else -1.0, *(float(np.sin(number * (2.0 + one))) / 4 for one in range(4))]


INSTANCE: Final = Parity()
NOTHING: Final = 3
EMBEDDERS: Final = __name__
