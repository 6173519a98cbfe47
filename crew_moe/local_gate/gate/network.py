"""The gating network: standardised features, one hidden layer, a logit for each expert.

    h = tanh(((x - mean) / scale) @ w1 + b1)        (rows, features) -> (rows, hidden)
    z = h @ w2 + b2                                 (rows, hidden) -> (rows, experts)
    p = softmax(z / temperature)

A feature that was the same in all lessons has a scale of infinity: it says nothing, whatever it is later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MORE: Final = "+"  # behind an expert's name: the output for examples that were given beside its lessons
CLIP: Final = 6.0  # standard deviations: what lies beyond all lessons counts as the farthest


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What is learned: w1 (features, hidden), b1 (hidden,), w2 (hidden, experts), b2 (experts,)."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array

    def __iter__(self) -> Iterator[Array]:
        return (getattr(self, field.name) for field in fields(self))

    def forward(self, x: Array) -> tuple[Array, Array]:
        """The hidden layer and the logits of standardised rows."""
        hidden = np.tanh(x @ self.w1 + self.b1)
        return hidden, hidden @ self.w2 + self.b2

    def backward(self, x: Array, hidden: Array, by_logits: Array) -> Weights:
        """Gradients from those of the logits (rows, experts)."""
        by_hidden = by_logits @ self.w2.T * (1.0 - hidden * hidden)
        return Weights(w1=x.T @ by_hidden, b1=by_hidden.sum(0), w2=hidden.T @ by_logits, b2=by_logits.sum(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A trained gating network. `mean` and `scale` are (features,); `experts` name the logits in their order."""

    experts: tuple[str, ...]
    mean: Array
    scale: Array
    weights: Weights
    temperature: float = 1.0

    def standardised(self, vectors: Array) -> Array:
        """Rows as the first layer takes them."""
        return np.clip((vectors - self.mean) / self.scale, -CLIP, CLIP)

    def logits(self, vectors: Array) -> Array:
        """(features,) -> (experts,), or rows of them; the temperature is in them already."""
        logits: Array = self.weights.forward(self.standardised(vectors))[1] / self.temperature
        return logits


def softmax(logits: Array) -> Array:
    """Over the last axis."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    shares: Array = raised / raised.sum(-1, keepdims=True)
    return shares
