"""How far a gate's confidence can be believed, and the temperature that mends it (Guo et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.local_gate.gate.network import Array, softmax

BINS: Final = 10
HOTTEST: Final = 8.0
COLDEST: Final = 0.5  # a gate that errs nowhere on its lessons would become sure of everything
_STEPS: Final = 40


def calibration_error(logits: Array, answers: NDArray[np.intp], bins: int = BINS) -> float:
    """The expected calibration error: how far confidence and accuracy lie apart, in equal bins of confidence.

    >>> calibration_error(np.array([[9.0, -9.0], [9.0, -9.0]]), np.array([0, 1])).__round__(3)
    0.5
    """
    probabilities = softmax(logits)
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == answers
    places = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    gaps = np.bincount(places, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(answers))


def fitting_temperature(logits: Array, answers: NDArray[np.intp]) -> float:
    """The temperature under which the right answers are likeliest, between COLDEST and HOTTEST.

    The likelihood has one peak in the temperature, so the golden section finds it.
    """
    low, high = np.log(COLDEST), np.log(HOTTEST)
    ratio = (5**0.5 - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _surprise(logits / np.exp(left), answers) <= _surprise(logits / np.exp(right), answers):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def error_after(logits: Array, answers: NDArray[np.intp], folds: Sequence[NDArray[np.bool_]]) -> float:
    """The calibration error where each fold is judged by the temperature that fits the others."""
    cooled = logits.copy()
    for fold in folds:
        cooled[fold] /= fitting_temperature(logits[~fold], answers[~fold])
    return calibration_error(cooled, answers)


def _surprise(logits: Array, answers: NDArray[np.intp]) -> float:
    chances = softmax(logits)[np.arange(len(answers)), answers]
    return float(-np.log(np.maximum(chances, 1e-300)).mean())
