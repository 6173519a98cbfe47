"""What is learned from, as numbers: examples become rows of a sparse matrix, a regression weighs its columns.

Needs scikit-learn and scipy (the extra `learn`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.errors import MissingExtra
from crew_moe.screening.corpus import OWN, Example
from crew_moe.screening.features import DIMENSIONS, features, windows
from crew_moe.screening.linear import LinearModel
from crew_moe.screening.recipes import Recipe
from crew_moe.screening.text import fold

RAREST: Final = 2  # windows in which an n-gram must occur to get a weight
JOINED: Final = "joined"  # the source of texts put together from others


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What a fit gave: a weight for each n-gram and pattern."""

    all: NDArray[np.float64]
    bias: float

    def model(self, recipe: Recipe) -> LinearModel:
        """A model with a threshold of 0, its weights rounded as its files will hold them."""
        patterns = self.all[DIMENSIONS:] * recipe.pattern_scale
        return LinearModel(
            concern=recipe.concern,
            ngrams=self.all[:DIMENSIONS].astype(np.float16).astype(np.float32),
            patterns={
                pattern.name: round(float(weight), 4) for pattern, weight in zip(recipe.patterns, patterns, strict=True)
            },
            bias=round(self.bias, 4),
            threshold=0.0,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Examples as rows of a sparse matrix: (windows, DIMENSIONS + patterns). `owner` is the example of each row."""

    recipe: Recipe
    examples: list[Example]
    matrix: Any
    owner: NDArray[np.int64]

    @classmethod
    def of(cls, recipe: Recipe, examples: list[Example]) -> Lessons:
        """Look at every window of every example."""
        sparse = library("scipy.sparse")
        indices: list[NDArray[np.int64]] = []
        values: list[NDArray[np.float64]] = []
        ends, owner = [0], []
        for position, example in enumerate(examples):
            for _, window in windows(fold(example.text)):
                seen = features(window, recipe.patterns)
                blocks = (seen.words, seen.characters, np.array(seen.patterns, dtype=np.int64) + DIMENSIONS)
                scales = (_unit(seen.words), _unit(seen.characters), recipe.pattern_scale)
                indices += blocks
                values += [np.full(len(block), scale) for block, scale in zip(blocks, scales, strict=True)]
                ends.append(ends[-1] + sum(map(len, blocks)))
                owner.append(position)
        shape = (len(owner), DIMENSIONS + len(recipe.patterns))
        matrix = sparse.csr_matrix((np.concatenate(values), np.concatenate(indices), np.array(ends)), shape=shape)
        matrix.sum_duplicates()
        return cls(recipe, examples, matrix, np.array(owner))

    def among(self, kept: NDArray[np.bool_]) -> Lessons:
        """Those of the examples alone."""
        numbers = np.cumsum(kept) - 1
        rows = kept[self.owner]
        examples = [example for example, keep in zip(self.examples, kept, strict=True) if keep]
        return Lessons(self.recipe, examples, self.matrix[rows], numbers[self.owner[rows]])

    def plus(self, more: list[Example]) -> Lessons:
        """Those of these examples too."""
        if not more:
            return self
        other = Lessons.of(self.recipe, more)
        matrix = library("scipy.sparse").vstack([self.matrix, other.matrix], format="csr")
        owner = np.concatenate([self.owner, other.owner + len(self.examples)])
        return Lessons(self.recipe, [*self.examples, *more], matrix, owner)

    def fit(self) -> Weights:
        """Rare n-grams may weigh more than frequent ones (by the logarithm of their rarity); hapaxes weigh nothing."""
        regression = library("sklearn.linear_model").LogisticRegression(C=self.recipe.inverse_penalty, max_iter=500)
        rarity = self._rarity()
        kept = np.flatnonzero(rarity)
        labels = np.array([example.label for example in self.examples])[self.owner]
        scaled = (self.matrix[:, kept] @ library("scipy.sparse").diags(rarity[kept])).tocsr()
        regression.fit(scaled, labels, sample_weight=self._row_weights(labels))
        weights = np.zeros(len(rarity))
        weights[kept] = regression.coef_[0] * rarity[kept]
        return Weights(weights, float(regression.intercept_[0]))

    def logits(self, weights: Weights) -> NDArray[np.float64]:
        """The strongest window of each example."""
        rows = self.matrix @ weights.all + weights.bias
        starts = np.searchsorted(self.owner, np.arange(len(self.examples)))
        return np.asarray(np.maximum.reduceat(rows, starts))

    def _rarity(self) -> NDArray[np.float64]:
        seen_in = np.bincount(self.matrix.indices, minlength=self.matrix.shape[1])
        rarity = np.log(self.matrix.shape[0] / np.maximum(seen_in, 1))
        rarity *= seen_in >= RAREST
        rarity /= np.mean(rarity[self.matrix.indices])
        rarity[DIMENSIONS:] = 1.0
        return np.asarray(rarity)

    def _row_weights(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """The windows of a text share its weight, and both labels weigh the same in all."""
        each = np.array([_weight(self.recipe, example) for example in self.examples])
        rows = (each / np.bincount(self.owner, minlength=len(each)))[self.owner]
        for label in (0, 1):
            rows[labels == label] /= rows[labels == label].sum() / len(rows) * 2
        return np.asarray(rows)


def _weight(recipe: Recipe, example: Example) -> float:
    if example.source == JOINED:
        return recipe.joined_weight
    if example.source.startswith(OWN):
        return recipe.own_weight
    return recipe.ordinary_weight if example.category == recipe.ordinary else 1.0


def _unit(block: NDArray[np.int64]) -> float:
    return 1.0 / math.sqrt(max(1, len(block)))


def library(module: str) -> Any:
    """A module of the extra `learn`; raises MissingExtra without it."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtra("learn", module.partition(".")[0]) from None
