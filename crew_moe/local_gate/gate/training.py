"""Training the gating network in numpy: Adam over hand-written gradients.

Each batch has as many rows of every expert, so that an expert with five examples is heard as well as one with five
hundred. Noise is laid on the features and on the logits; in the beginning every row is for all experts alike (warm-up),
so that none is left behind by an early favourite. The same lessons and seed give the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.features import BUCKETS, FEATURES
from crew_moe.local_gate.gate.lessons import Lessons
from crew_moe.local_gate.gate.losses import LossWeights, total_loss
from crew_moe.local_gate.gate.network import Array, Network, Weights

_BETAS: Final = (0.9, 0.999)
_TINY: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a gating network is trained. Noise is in standard deviations of a feature, and in logits; `warm_up` is in
    steps, `smoothing` the share of a target that always goes to all experts alike.
    """

    hidden: int = 24
    steps: int = 500
    batch: int = 48
    rate: float = 0.01
    decay: float = 0.02
    clip: float = 1.0
    feature_noise: float = 0.3
    logit_noise: float = 0.5
    warm_up: int = 40
    smoothing: float = 0.02
    word_scale: float = 8.0
    top_k: int = 1
    losses: LossWeights = field(default_factory=LossWeights)
    seed: int = 0


USUAL: Final = Recipe()


def fit(lessons: Lessons, recipe: Recipe = USUAL, *, step: Callable[[], None] = lambda: None) -> Network:
    """Learn from lessons; `step` is called after each of the recipe's steps. Raises InvalidInput for less than two
    experts.
    """
    experts = lessons.experts
    if len(experts) < 2:
        raise InvalidInput("a gate needs lessons of two experts at least", where="lessons", allowed=experts)
    rng = np.random.default_rng(recipe.seed)
    network = untrained(lessons, recipe, rng)
    x = network.standardised(lessons.vectors)
    owners = [np.flatnonzero(np.array(lessons.labels) == expert) for expert in experts]
    adam = Adam(network.weights, recipe)
    for number in range(recipe.steps):
        rows, labels = _batch(owners, recipe.batch, rng)
        targets = _targets(labels, len(experts), number, recipe)
        noise = rng.normal(scale=recipe.logit_noise, size=targets.shape)
        _, gradients = loss_and_gradients(adam.weights, _shaken(x[rows], recipe, rng), targets, noise, recipe)
        adam.step(gradients, rate=recipe.rate * (1.0 - number / recipe.steps))
        step()
    return replace(network, weights=adam.weights)


def loss_and_gradients(
    weights: Weights, x: Array, targets: Array, noise: Array, recipe: Recipe
) -> tuple[float, Weights]:
    """All losses of one batch of standardised rows, and their gradients by every weight."""
    hidden, clean = weights.forward(x)
    loss = total_loss(clean, noise, targets, recipe.losses, sigma=recipe.logit_noise, top_k=recipe.top_k)
    return loss.value, weights.backward(x, hidden, loss.by_noisy + loss.by_clean)


def untrained(lessons: Lessons, recipe: Recipe, rng: np.random.Generator) -> Network:
    """Features scaled as these lessons have them; small random weights."""
    vectors, count = lessons.vectors, len(lessons.experts)
    mean, scale = vectors.mean(0), vectors.std(0)
    mean[-BUCKETS:] = 0.0
    scale[-BUCKETS:] = _word_scales(vectors[:, -BUCKETS:], recipe.word_scale)
    scale[scale < _TINY] = np.inf
    weights = Weights(
        w1=rng.normal(scale=len(FEATURES) ** -0.5, size=(len(FEATURES), recipe.hidden)) * np.isfinite(scale)[:, None],
        b1=np.zeros(recipe.hidden),
        w2=rng.normal(scale=recipe.hidden**-0.5, size=(recipe.hidden, count)),
        b2=np.zeros(count),
    )
    return Network(experts=lessons.experts, mean=mean, scale=scale, weights=weights)


def _word_scales(words: Array, most: float) -> Array:
    """What to divide buckets of words by: 1 / `most` for the rarest, more the commoner a word is; 0 for no word."""
    occurring = np.count_nonzero(words, axis=0)
    rarity = np.log((1.0 + len(words)) / (1.0 + occurring)) / np.log(1.0 + len(words))  # 0 to 1
    scales: Array = np.where(occurring > 0, 1.0 / np.maximum(most * rarity, _TINY), 0.0)
    return scales


class Adam:
    """Adam with clipped gradients and decoupled decay of the matrices (Kingma and Ba 2015; Loshchilov 2019)."""

    def __init__(self, weights: Weights, recipe: Recipe) -> None:
        self.weights = weights
        self._recipe = recipe
        self._moments = [(np.zeros_like(one), np.zeros_like(one)) for one in weights]
        self._taken = 0

    def step(self, gradients: Weights, *, rate: float) -> None:
        """Move the weights once."""
        self._taken += 1
        length = float(np.sqrt(sum(float((one**2).sum()) for one in gradients)))
        shrink = min(1.0, self._recipe.clip / (length + _TINY))
        self.weights = Weights(
            *(
                self._moved(number, one, gradient * shrink, rate)
                for number, (one, gradient) in enumerate(zip(self.weights, gradients, strict=True))
            )
        )

    def _moved(self, number: int, weight: Array, gradient: Array, rate: float) -> Array:
        first, second = self._moments[number]
        first = _BETAS[0] * first + (1.0 - _BETAS[0]) * gradient
        second = _BETAS[1] * second + (1.0 - _BETAS[1]) * gradient**2
        self._moments[number] = (first, second)
        mean, square = (
            moment / (1.0 - beta**self._taken) for moment, beta in zip((first, second), _BETAS, strict=True)
        )
        decay = self._recipe.decay if weight.ndim > 1 else 0.0
        moved: Array = weight - rate * (mean / (np.sqrt(square) + _TINY) + decay * weight)
        return moved


def _batch(
    owners: Sequence[NDArray[np.intp]], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """As many rows of each expert, drawn with return, and whose they are."""
    each = -(-size // len(owners))
    return np.concatenate([rng.choice(own, each) for own in owners]), np.repeat(np.arange(len(owners)), each)


def _targets(labels: NDArray[np.intp], count: int, number: int, recipe: Recipe) -> Array:
    """One-hot rows, mixed with the uniform distribution: wholly at the first step, by `smoothing` after the warm-up."""
    left = max(0.0, 1.0 - number / recipe.warm_up) if recipe.warm_up else 0.0
    share = max(left, recipe.smoothing)
    targets: Array = np.eye(count)[labels] * (1.0 - share) + share / count
    return targets


def _shaken(x: Array, recipe: Recipe, rng: np.random.Generator) -> Array:
    """Noise on the measures; a word occurs or does not."""
    shaken = x.copy()
    shaken[:, :-BUCKETS] += rng.normal(scale=recipe.feature_noise, size=(len(x), x.shape[1] - BUCKETS))
    return shaken
