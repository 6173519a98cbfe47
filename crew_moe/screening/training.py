"""Training the linear models: logistic regression over hashed n-grams, judged on folds it has not seen.

Near duplicates (a cluster) stay in one fold. Each fold's texts are scored by a model that was trained without them;
these scores give the held-out figures and choose the threshold. The model that is kept then learns from everything.

Needs scikit-learn (the extra `learn`); using a model does not. The same data and seed give the same model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.digest import digest
from crew_moe.errors import InvalidInput
from crew_moe.ports import Detector
from crew_moe.screening.corpus import OWN, Example, written
from crew_moe.screening.features import DIMENSIONS
from crew_moe.screening.lessons import JOINED, Lessons
from crew_moe.screening.linear import LinearModel
from crew_moe.screening.measures import Judged, threshold_at
from crew_moe.screening.recipes import LICENCES, Recipe

FOLDS: Final = 5
SEED: Final = 0
LONGEST_HOST: Final = 800  # characters of an ordinary text that a sentence is put behind
_SEPARATORS: Final = (" ", ". ", "\n", "\n\n")

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model and how it did on texts that it had not seen."""

    model: LinearModel
    held_out: Judged


def train(recipe: Recipe, given: Sequence[Example], *, seed: int = SEED, step: Step = lambda _: None) -> Trained:
    """Learn one concern; `step` hears of each of the FOLDS + 1 fits. Raises MissingExtra, InvalidInput."""
    _check(recipe, given)
    lessons = Lessons.of(recipe, [*given, *_own(recipe, seed)])
    held_out = _held_out(recipe, lessons, seed, step)
    threshold = _threshold(recipe, lessons, held_out)
    step(f"{recipe.file}: all")
    learned = lessons.plus(_joined(recipe, lessons.examples, seed)).fit()
    model = replace(learned.model(recipe), threshold=threshold)
    judged = _judged(recipe, lessons.examples, np.array([model.score(float(logit)) for logit in held_out]))
    provenance = _provenance(lessons.examples, judged, seed)
    return Trained(model=replace(model, provenance=provenance), held_out=judged)


def assessed(
    recipe: Recipe, detector: Detector, examples: Sequence[Example], *, step: Callable[[], None] = lambda: None
) -> Judged:
    """How a detector does on labelled texts; it must not have learned from them."""
    scores = []
    for example in examples:
        scores.append(detector.assess(example.text).score)
        step()
    return _judged(recipe, examples, np.array(scores))


def _own(recipe: Recipe, seed: int) -> list[Example]:
    return [example for name in recipe.own for example in written(name, seed)]


def _joined(recipe: Recipe, examples: Sequence[Example], seed: int) -> list[Example]:
    """Ordinary texts with a sentence of our own in front or behind: an attack is one even if it begins harmlessly."""
    rng = Random(seed)
    hosts = [one for one in examples if one.category == recipe.ordinary and len(one.text) < LONGEST_HOST]
    guests = [[one for one in examples if one.source.startswith(OWN) and one.label == label] for label in (0, 1)]
    if not hosts or not all(guests):
        return []
    made = []
    for number in range(recipe.joined):
        host, guest = rng.choice(hosts), rng.choice(guests[number % 3 > 0])  # two attacks to one harmless sentence
        parts = (host.text, guest.text) if rng.random() < 0.8 else (guest.text, host.text)
        text = rng.choice(_SEPARATORS).join(parts)
        made.append(replace(guest, id=f"{JOINED}-{number}", text=text, source=JOINED, category=JOINED))
    return made


def _held_out(recipe: Recipe, lessons: Lessons, seed: int, step: Step) -> NDArray[np.float64]:
    """The logit of each example by a model that has not seen its cluster."""
    folds = np.array([_fold_of(example, seed) for example in lessons.examples])
    logits = np.zeros(len(folds))
    for number in range(FOLDS):
        step(f"{recipe.file}: fold {number + 1}")
        known = lessons.among(folds != number)
        weights = known.plus(_joined(recipe, known.examples, seed + number + 1)).fit()
        logits[folds == number] = lessons.among(folds == number).logits(weights)
    return logits


def _fold_of(example: Example, seed: int) -> int:
    return int.from_bytes(digest(f"{seed}:{example.cluster}", size=4), "big") % FOLDS


def _threshold(recipe: Recipe, lessons: Lessons, logits: NDArray[np.float64]) -> float:
    """The lowest threshold that keeps every limit of the recipe on held-out texts."""
    found = []
    for category, limit in recipe.limits.items():
        negatives = [one.category == category and one.label == 0 for one in lessons.examples]
        if any(negatives):
            found.append(threshold_at(logits[np.array(negatives)], limit))
    return round(max(found), 4)


def _judged(recipe: Recipe, examples: Sequence[Example], scores: NDArray[np.float64]) -> Judged:
    """The figures count public texts alone; our own are measured in their rates by source."""
    public = np.array([not example.source.startswith(OWN) for example in examples])
    kept = [example for example, is_public in zip(examples, public, strict=True) if is_public]
    return Judged(
        labels=np.array([example.label for example in kept]),
        scores=scores[public],
        sources=np.array([example.source for example in kept]),
        ordinary=np.array([example.category == recipe.ordinary and example.label == 0 for example in kept]),
    )


def _provenance(learned: Sequence[Example], judged: Judged, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "method": f"logistic regression over 2^{DIMENSIONS.bit_length() - 1} hashed n-grams and patterns",
        "held_out": f"{FOLDS} folds by cluster; the kept model learned from all rows",
        "sources": [dict(source) for source in _sources(learned)],
        "figures": _rounded(judged.figures()),
    }


def _sources(examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
    for name in sorted({example.source for example in examples}):
        rows = [example for example in examples if example.source == name]
        licence = "MIT (this project)" if name.startswith(OWN) else LICENCES.get(name, "not stated")
        yield {"source": name, "rows": len(rows), "positive": sum(row.label for row in rows), "licence": licence}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _check(recipe: Recipe, given: Sequence[Example]) -> None:
    found = {example.label for example in given}
    if found != {0, 1}:
        raise InvalidInput("training needs texts of both labels, 0 and 1", where=recipe.file)
    if not any(example.category == recipe.ordinary and example.label == 0 for example in given):
        raise InvalidInput(f"no text of category '{recipe.ordinary}' and label 0", where=recipe.file)
