"""A gate from lessons, with the figures that say how good it is: trained in folds, calibrated, and then on everything.

Texts of one cluster (one template, one kind of document, the same text) stay in one fold. Each fold is judged by a
network that has not seen it; the temperature comes from these judgements. The network that is kept has learned from all
lessons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.digest import digest
from crew_moe.errors import InvalidInput
from crew_moe.local_gate.gate.calibration import calibration_error, error_after, fitting_temperature
from crew_moe.local_gate.gate.file import GateFile
from crew_moe.local_gate.gate.lessons import Lessons
from crew_moe.local_gate.gate.losses import cv_squared
from crew_moe.local_gate.gate.network import Array, Network, softmax
from crew_moe.local_gate.gate.training import USUAL, Recipe, fit

FOLDS: Final = 4
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What held-out lessons say: shares right in all and by expert, calibration error before and after, and the CV^2 of
    importance and load where every expert's lessons weigh the same.
    """

    rows: int
    accuracy: float
    accuracy_by_expert: dict[str, float]
    calibration_error_before: float
    calibration_error_after: float
    temperature: float
    importance_cv2: float
    load_cv2: float

    def as_dict(self) -> dict[str, Any]:
        return {name: _rounded(value) for name, value in asdict(self).items()}


def schooled(
    lessons: Lessons, recipe: Recipe = USUAL, *, folds: int = FOLDS, step: Step = lambda _: None
) -> tuple[Network, Figures]:
    """A calibrated network and its figures; `step` hears of each of the `folds` + 1 trainings."""
    experts = lessons.experts
    answers = np.array([experts.index(label) for label in lessons.labels])
    places = _places(lessons, folds)
    logits = np.zeros((len(lessons), len(experts)))
    for number in range(folds):
        step(f"fold {number + 1}")
        fold = places == number
        logits[fold] = fit(lessons.among(~fold), recipe).logits(lessons.vectors[fold])
    step("all lessons")
    figures = _figures(experts, logits, answers, [places == number for number in range(folds)])
    return replace(fit(lessons, recipe), temperature=figures.temperature), figures


def gate_of(
    lessons: Lessons, sources: Mapping[str, int], recipe: Recipe = USUAL, *, step: Step = lambda _: None
) -> GateFile:
    """A gate to be saved, with its figures; `sources` says how many lessons came from where."""
    network, figures = schooled(lessons, recipe, step=step)
    provenance = {
        "lessons": dict(sources),
        "rows": lessons.counts(),
        "content": lessons.digest(),
        "recipe": asdict(recipe),
        "held_out": f"{FOLDS} folds by cluster; the kept network learned from all rows",
        "figures": figures.as_dict(),
    }
    return GateFile(network=network, provenance=provenance)


def _places(lessons: Lessons, folds: int) -> NDArray[np.intp]:
    """The fold of each row: the clusters of an expert are dealt out in turn, in an order that their names give. Raises
    InvalidInput where an expert has not clusters enough to be learned and held out.
    """
    owners = dict(zip(lessons.clusters, lessons.labels, strict=True))
    fold_of: dict[str, int] = {}
    for expert in lessons.experts:
        own = sorted((cluster for cluster, owner in owners.items() if owner == expert), key=digest)
        if len(own) < 2:
            raise InvalidInput(f"'{expert}' has {len(own)} example", where="lessons", allowed=("2 or more",))
        fold_of |= {cluster: number % folds for number, cluster in enumerate(own)}
    return np.array([fold_of[cluster] for cluster in lessons.clusters], dtype=np.intp)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _figures(
    experts: tuple[str, ...], logits: Array, answers: NDArray[np.intp], folds: list[NDArray[np.bool_]]
) -> Figures:
    chosen = logits.argmax(-1)
    temperature = fitting_temperature(logits, answers)
    owned = np.array([answers == expert for expert in range(len(experts))], dtype=np.float64)  # (experts, rows)
    each = owned / np.maximum(1.0, owned.sum(1, keepdims=True))
    return Figures(
        rows=len(answers),
        accuracy=float((chosen == answers).mean()),
        accuracy_by_expert={
            expert: float((chosen == answers)[answers == number].mean())
            for number, expert in enumerate(experts)
            if (answers == number).any()
        },
        calibration_error_before=calibration_error(logits, answers),
        calibration_error_after=error_after(logits, answers, folds),
        temperature=temperature,
        importance_cv2=cv_squared((each @ softmax(logits / temperature)).sum(0))[0],
        load_cv2=cv_squared((each @ np.eye(len(experts))[chosen]).sum(0))[0],
    )
