"""Training the model of one set of experts: learners weighed by what they say of rows they have not seen.

There are four learners, and a fifth where an embedder is at hand. Rows are cut into folds; each fold is predicted by
learners of the others, and the weights are those that would have predicted best, none below nothing and all drawn a
little towards what was expected (stacking; Wolpert 1992, Breiman 1996). Few rows or weak signals end with small
weights, and the prediction with the means of the tasks, or of all rows. The kept learners learn from all rows.

Needs scikit-learn (the extra `learn`); using a model does not. The same rows and seed give the same model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.quality.boosting import grown
from crew_moe.learning.quality.discovery import Leaves, discovered, learned_tasks
from crew_moe.learning.quality.elsewhere import elsewhere_of
from crew_moe.learning.quality.embedding import Embedding
from crew_moe.learning.quality.form import TRAVELLING
from crew_moe.learning.quality.material import Material, material_of
from crew_moe.learning.quality.part import EMBEDDING, LEARNERS, Learners, Part, cost_inputs, split, weighed
from crew_moe.learning.quality.sight import FEATURE_NAMES, FEATURES
from crew_moe.learning.quality.table import Table
from crew_moe.learning.quality.words import Words
from crew_moe.screening.lessons import library

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Step = Callable[[str], None]

FOLDS: Final = 5
STEPS: Final = FOLDS + 2
WORD_PENALTY: Final = 8.0
FORM_PENALTY: Final = 300.0
COST_PENALTY: Final = 1.0
EMBEDDING_PENALTIES: Final = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # the best for rows left out is taken
WEIGHT_PENALTY: Final = 0.2
_TASK_COST_SCALE: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wanted:
    """Quality above the mean of each expert, 0 where it is not known."""

    mean: Floats
    deviation: Floats
    above: Floats
    known: NDArray[np.bool_]


def fit_part(
    table: Table, seed: int = 0, step: Step = lambda _: None, embedded: Floats | None = None
) -> tuple[Part, dict[str, Any]]:
    """The model, and how it did on rows that it had not seen; `step` hears of each of STEPS. Raises MissingExtra.

    `embedded` (rows, dimensions) are the vectors of the texts. All but the learner that reads them is as without.
    """
    step("reading")
    material, wanted = material_of(table, seed, embedded), _wanted(table)
    everything = np.arange(len(table))
    nothing = np.zeros((len(material.grams), len(table.experts)))
    leaves = discovered(table, material.inputs(everything, nothing).both, seed)
    names = LEARNERS if embedded is None else (*LEARNERS, EMBEDDING)
    held_out = np.zeros((len(names), *wanted.above.shape))
    for number, rest in enumerate(_folds(table, seed)):
        step(f"fold {number + 1}")
        kept = np.setdiff1d(everything, rest)
        learners, words = _learned(table, material, leaves, wanted, kept, seed)
        inputs = material.inputs(rest, words)
        held_out[:, rest] = learners.say(inputs, learners.tasks.shares(inputs.both, _known(table, rest)))
    step("all rows")
    learners, words = _learned(table, material, leaves, wanted, everything, seed)
    labelled = any(table.labels)
    weights = _stacked(held_out[: len(LEARNERS)], wanted, labelled=labelled)
    inputs = material.inputs(everything, words)
    cost_mean, cost_weights = _costs(table, learners.tasks.shares(inputs.both, _known(table, everything)))
    part = Part(
        experts=table.experts,
        rows=len(table),
        sees=table.sees,
        mean=wanted.mean,
        deviation=wanted.deviation,
        form_mean=material.form_mean,
        form_scale=material.form_scale,
        whitening=material.whitening,
        farthest=material.farthest,
        words=Words.of(material.grams, material.rarity, np.hstack([material.table, words]).astype(np.float32)),
        learners=learners,
        elsewhere=elsewhere_of(material.form[:, : _travelling(table)], wanted.above, seed),
        weights=weights,
        cost_mean=cost_mean,
        cost_weights=cost_weights,
        weights_embedded=None if embedded is None else _stacked(held_out, wanted, labelled=labelled),
    )
    return part, _figures(table, part, leaves, wanted, held_out)


def _known(table: Table, rows: Ints) -> list[str | None]:
    """Labels that are known of such rows when they are predicted, too: task types in a log, but no column of a file."""
    return [table.labels[row] if table.sees == FEATURES else None for row in rows]


def _travelling(table: Table) -> int:
    """How many numbers of a form mean the same everywhere."""
    return len(FEATURE_NAMES) if table.sees == FEATURES else TRAVELLING


def _wanted(table: Table) -> _Wanted:
    known = ~np.isnan(table.quality)
    asked = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, table.quality, 0.0).sum(axis=0) / asked
    above = np.where(known, table.quality - mean, 0.0)
    return _Wanted(mean=mean, deviation=np.sqrt((above**2).sum(axis=0) / asked), above=above, known=known)


def _folds(table: Table, seed: int) -> list[Ints]:
    """Rows of each fold. Rows of one text stay together, else what was learned by heart would count as understood; not
    where there are too few texts for that.
    """
    of_text: dict[str | int, list[int]] = {}
    texts: Sequence[str | int] = table.texts or range(len(table))
    for row, text in enumerate(texts):
        of_text.setdefault(text, []).append(row)
    groups = list(of_text.values())
    if len(groups) < 2 * FOLDS or max(map(len, groups)) > len(table) / 2:
        groups = [[row] for row in range(len(table))]
    order = np.random.default_rng(seed).permutation(len(groups))
    return [np.array([row for one in part for row in groups[one]]) for part in np.array_split(order, FOLDS)]


def _learned(
    table: Table, material: Material, leaves: Leaves, wanted: _Wanted, rows: Ints, seed: int
) -> tuple[Learners, Floats]:
    """The learners from these rows, and the weight of each word for each expert."""
    nothing = np.zeros((len(material.grams), len(table.experts)))
    inputs = material.inputs(rows, nothing)
    above, known = wanted.above[rows], wanted.known[rows]
    tasks = learned_tasks(leaves, rows, inputs.both, above, known, seed)
    by_task = tasks.shares(inputs.both, _known(table, rows)) @ tasks.means
    beyond = np.where(known, above - by_task, 0.0)
    ridge = library("sklearn.linear_model").Ridge
    said = np.zeros_like(nothing)
    if len(material.grams):
        words = ridge(alpha=WORD_PENALTY, solver="sparse_cg", tol=1e-3, fit_intercept=False)
        said = words.fit(material.vectors[rows], beyond).coef_.reshape(len(table.experts), -1).T
    form = ridge(alpha=FORM_PENALTY, fit_intercept=False).fit(inputs.form, beyond).coef_.reshape(len(table.experts), -1)
    learners = Learners(
        tasks=tasks,
        trees=grown(inputs.tree, np.where(known, above, by_task), seed),
        form=form.T,
        embedding=None if inputs.vectors is None else _embedding(inputs.vectors, beyond),
    )
    return learners, np.asarray(said, dtype=np.float64)


def _embedding(vectors: Floats, beyond: Floats) -> Embedding:
    centre = vectors.mean(axis=0)
    ridge = library("sklearn.linear_model").RidgeCV(alphas=EMBEDDING_PENALTIES, fit_intercept=False)
    slopes = ridge.fit(vectors - centre, beyond).coef_.reshape(beyond.shape[1], -1).T
    return Embedding(centre=centre, slopes=slopes)


def _stacked(held_out: Floats, wanted: _Wanted, *, labelled: bool) -> Floats:
    """Weights of the level and of the differences, (2, learners); where tasks were named, they are expected to count in
    full until the rows say otherwise. Rows of which not every expert is known can't tell the two apart.
    """
    expected = np.zeros(len(held_out))
    expected[LEARNERS.index("tasks")] = float(labelled)
    if wanted.known.all():
        parts = zip(split(held_out), split(wanted.above), strict=True)
        return np.array([_weights(said.reshape(len(expected), -1), true.ravel(), expected) for said, true in parts])
    return np.tile(_weights(held_out[:, wanted.known], wanted.above[wanted.known], expected), (2, 1))


def _weights(said: Floats, true: Floats, expected: Floats) -> Floats:
    """What each learner counts; `said` is (learners, cells), `true` (cells,)."""
    pull = np.sqrt(WEIGHT_PENALTY * (said**2).sum() / len(said))
    rows = np.vstack([said.T, pull * np.eye(len(said))])
    found: Floats = library("scipy.optimize").nnls(rows, np.concatenate([true, pull * expected]))[0]
    return found


def _costs(table: Table, shares: Floats) -> tuple[Floats, Floats]:
    """Mean cost of each expert, NaN where none is known, and what makes a text cost more or less of it."""
    known = ~np.isnan(table.cost)
    count = known.sum(axis=0)
    mean = np.where(count > 0, np.where(known, table.cost, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
    ratio = np.where(known & (mean > 0), table.cost / np.where(mean > 0, mean, 1.0), 1.0)
    inputs = cost_inputs(table.seen, shares)
    centre = inputs.mean(axis=0)
    scale = np.concatenate(
        [np.maximum(inputs[:, 1:3].std(axis=0), 1e-6), np.full(shares.shape[1], 1 / _TASK_COST_SCALE)]
    )
    ridge = library("sklearn.linear_model").Ridge(alpha=COST_PENALTY)
    ridge.fit((inputs[:, 1:] - centre[1:]) / scale, ratio)
    slopes = ridge.coef_.reshape(len(table.experts), -1).T / scale[:, None]
    constant = np.atleast_1d(ridge.intercept_) - centre[1:] @ slopes
    return mean, np.vstack([constant, slopes])


def _figures(table: Table, part: Part, leaves: Leaves, wanted: _Wanted, held_out: Floats) -> dict[str, Any]:
    """What is known of the training, JSON-ready; errors are of rows that were not learned from."""
    without = _held_out(wanted, held_out[: len(LEARNERS)], part.weights)
    used, figures = part.weights, {"held_out": without}
    if part.weights_embedded is not None:
        used = part.weights_embedded
        figures = {"held_out": _held_out(wanted, held_out, used), "without_embedder": without}
    named = dict.fromkeys(label for label in leaves.labels if label)
    return {
        "source": table.source,
        "rows": len(table),
        "experts": len(table.experts),
        "labels": list(named),
        "tasks": len(leaves.labels),
        "folds": FOLDS,
        **figures,
        "weights": {
            of: {name: round(float(one), 3) for name, one in zip((*LEARNERS, EMBEDDING), row, strict=False)}
            for of, row in zip(("level", "differences"), used, strict=True)
        },
    }


def _held_out(wanted: _Wanted, said: Floats, weights: Floats) -> dict[str, float]:
    error = np.where(wanted.known, weighed(said, weights) - wanted.above, 0.0)
    explained = 1.0 - float((error**2).sum() / max(1e-12, float((wanted.above**2).sum())))
    return {
        "explained_variance": round(explained, 4),
        "rmse": round(float(np.sqrt((error**2).sum() / max(1, wanted.known.sum()))), 4),
    }
