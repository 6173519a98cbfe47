"""The model of one set of experts, ready to predict: its learners and how they are weighed.

    tasks   which task it is, and the mean quality of each expert at it
    words   what words and pairs of words say beyond the task
    trees   form and meaning together, by many small trees
    form    the form alone, linearly

and, where the user has an embedder, a fifth: what its vectors say beyond the task, linearly.

What they say is split into the level (how well all experts do) and the differences between experts, which are weighed
apart: a choice depends on the differences, a quality floor on both. A text unlike all that was learned from is left to
what the form tells in every domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.quality.embedding import Embedding
from crew_moe.learning.quality.forest import Forest
from crew_moe.learning.quality.sight import Seen
from crew_moe.learning.quality.tasks import Tasks
from crew_moe.learning.quality.words import Words

Floats = NDArray[np.float64]

LEARNERS: Final = ("tasks", "words", "trees", "form")
EMBEDDING: Final = "embedding"  # the fifth
CLIP: Final = 3.0  # standard deviations; beyond, a form says no more
FAR: Final = 8.0  # as CLIP, where it is asked how unlike a text is
MEANING_SCALE: Final = 14.0  # brings the coordinates of meaning to about 1
FORM_SCALE: Final = 0.3
TREE_MEANINGS: Final = 20  # coordinates of meaning that trees look at
EDGE: Final = 0.02  # qualities nearer than this to 0 or 1 are squeezed, so that their order stays
LEAST_SPREAD: Final = 0.02


class Inputs(NamedTuple):
    """Rows as learners look at them: `meaning` (rows, m), `said` (rows, experts) by words, `form` (rows, f) in standard
    deviations, `far` (rows,) how far it is from what was usual; `vectors` (rows, dimensions), where they are embedded.
    """

    meaning: Floats
    said: Floats
    form: Floats
    far: Floats
    vectors: Floats | None = None

    @property
    def both(self) -> Floats:
        """What tells tasks apart."""
        return np.hstack([self.meaning * MEANING_SCALE, self.form * FORM_SCALE])

    @property
    def tree(self) -> Floats:
        return np.hstack([self.form, self.meaning[:, :TREE_MEANINGS]])


class Predicted(NamedTuple):
    """`quality`, `spread` and `cost_usd` (NaN: not known) are (rows, experts); `strangeness` is (rows,), above 1 for
    what is unfamiliar.
    """

    quality: Floats
    spread: Floats
    cost_usd: Floats
    strangeness: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learners:
    """What was learned from some rows, beside what words say. `form` is (f, experts)."""

    tasks: Tasks
    trees: Forest
    form: Floats
    embedding: Embedding | None = None

    def say(self, inputs: Inputs, shares: Floats) -> Floats:
        """What each says of quality above the mean: (learners, rows, experts); the embedding comes last, if the rows
        are embedded. `shares` are those of tasks.
        """
        by_trees = _summed(self.trees.predict(inputs.tree))
        said = [shares @ self.tasks.means, inputs.said, by_trees, inputs.form @ self.form]
        if self.embedding is not None and inputs.vectors is not None:
            said.append(self.embedding.say(inputs.vectors))
        return np.stack(said)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Elsewhere:
    """What is left for an unfamiliar text: the form that means the same everywhere, along the one `direction`
    (fewer, experts) in which quality changes with it, and by a few `trees`.
    """

    direction: Floats
    trees: Forest

    def say(self, form: Floats) -> Floats:
        """(rows, f) -> quality above the mean, (rows, experts)."""
        travelling = form[:, : len(self.direction)]
        return travelling @ self.direction + _summed(self.trees.predict(travelling))


def _summed(by_trees: Floats) -> Floats:
    """The differences of experts and the level, which comes last, put together."""
    return by_trees[:, :-1] + by_trees[:, -1:]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The model of one set of experts; `rows` is how many it learned from, `sees` what it looks at.

    `mean` and `deviation` are those of quality over all rows, (experts,); `weights` (2, learners) those of the level
    and of the differences, `weights_embedded` (2, learners + 1) those where the text is embedded. A form is read in
    units of `form_scale` from `form_mean`, (f,); `whitening`, (f, f), and `farthest` tell which forms are familiar.
    `cost_mean` is in US$, NaN where costs are not known; `cost_weights` (lengths and tasks, experts) tell what a text
    costs of it.
    """

    experts: tuple[str, ...]
    rows: int
    sees: str
    mean: Floats
    deviation: Floats
    form_mean: Floats
    form_scale: Floats
    whitening: Floats
    farthest: float
    words: Words
    learners: Learners
    elsewhere: Elsewhere
    weights: Floats
    cost_mean: Floats
    cost_weights: Floats
    weights_embedded: Floats | None = None

    def inputs(self, seen: Sequence[Seen], vectors: Floats | None = None) -> Inputs:
        """Read the texts."""
        sums = self.words.sums(seen)
        raw = (np.array([one.form for one in seen]) - self.form_mean) / self.form_scale
        meanings = sums.shape[1] - len(self.experts)
        return Inputs(
            meaning=sums[:, :meanings],
            said=sums[:, meanings:],
            form=np.clip(raw, -CLIP, CLIP),
            far=farness(raw, self.whitening),
            vectors=vectors,
        )

    def predict(self, seen: Sequence[Seen], labels: Sequence[str | None], vectors: Floats | None = None) -> Predicted:
        """Quality, spread and cost of every expert at every text. `labels` are those known, None for the others."""
        inputs = self.inputs(seen, vectors)
        shares = self.learners.tasks.shares(inputs.both, labels)
        said = self.learners.say(inputs, shares)
        weights = self.weights if self.weights_embedded is None or vectors is None else self.weights_embedded
        blended = weighed(said, weights)
        strangeness = inputs.far / self.farthest
        familiar = strangeness <= 1.0
        spread = self._spread(said, blended, shares, familiar)
        if not familiar.all():
            blended[~familiar] = self.elsewhere.say(inputs.form[~familiar])
        return Predicted(bounded(self.mean + blended), spread, self._cost(seen, shares), strangeness)

    def _spread(self, said: Floats, blended: Floats, shares: Floats, familiar: NDArray[np.bool_]) -> Floats:
        """How sure the means are, how far the learners are apart, and for an unfamiliar text how much experts vary."""
        known = shares @ self.learners.tasks.variances + (blended - said[0]) ** 2
        spread: Floats = np.sqrt(np.where(familiar[:, None], known, known + self.deviation**2))
        return np.maximum(spread, LEAST_SPREAD)

    def _cost(self, seen: Sequence[Seen], shares: Floats) -> Floats:
        ratio = cost_inputs(seen, shares) @ self.cost_weights
        cost: Floats = self.cost_mean * np.maximum(ratio, 0.05)
        return cost


def farness(raw: Floats, whitening: Floats) -> Floats:
    """How far forms in standard deviations, (rows, f), are from the usual ones as they vary together (Mahalanobis): one
    that is usual in each number and unusual in all of them is far. (rows,).
    """
    apart = np.clip(raw, -FAR, FAR) @ whitening
    distance: Floats = np.sqrt((apart * apart).mean(axis=1))
    return distance


def cost_inputs(seen: Sequence[Seen], shares: Floats) -> Floats:
    """What a cost depends on: the constant, the lengths, the task."""
    lengths = [[1.0, one.chars / 1000.0, one.words / 200.0] for one in seen]
    return np.hstack([np.array(lengths), shares])


def split(said: Floats) -> tuple[Floats, Floats]:
    """The level of each row, (..., rows, 1), and the differences of experts from it, (..., rows, experts)."""
    level = said.mean(axis=-1, keepdims=True)
    return level, said - level


def weighed(said: Floats, weights: Floats) -> Floats:
    """The learners' sum: `weights` (2, learners) are those of the level and of the differences."""
    level, difference = split(said)
    total: Floats = np.tensordot(weights[0], level, 1) + np.tensordot(weights[1], difference, 1)
    return total


def bounded(quality: Floats) -> Floats:
    """Within (0, 1), in the same order: what would lie near or beyond an end is squeezed."""
    high, low = 1.0 - EDGE, EDGE
    above = high + EDGE * -np.expm1(-np.maximum(quality - high, 0.0) / EDGE)
    below = low - EDGE * -np.expm1(-np.maximum(low - quality, 0.0) / EDGE)
    within: Floats = np.where(quality > high, above, np.where(quality < low, below, quality))
    return within
