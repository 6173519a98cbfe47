"""The temperature and the calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from crew_moe.local_gate.gate.calibration import (
    COLDEST,
    HOTTEST,
    calibration_error,
    error_after,
    fitting_temperature,
)
from crew_moe.local_gate.gate.network import Array, softmax


def drawn(temperature: float, rows: int = 4_000) -> tuple[Array, np.ndarray]:
    """Logits, and answers drawn as if the logits had been divided by the temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3.0, size=(rows, 3))
    chances = softmax(logits / temperature).cumsum(-1)
    return logits, (rng.random((rows, 1)) > chances).sum(-1).clip(max=2)


@pytest.mark.parametrize("temperature", [0.8, 1.0, 2.5])
def test_temperature_is_found(temperature: float) -> None:
    assert fitting_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.1)


def test_temperature_stays_within_its_bounds() -> None:
    logits = np.array([[5.0, 0.0], [0.0, 5.0]])

    assert fitting_temperature(logits, np.array([0, 1])) == pytest.approx(COLDEST, rel=1e-6)
    assert fitting_temperature(logits, np.array([1, 0])) == pytest.approx(HOTTEST, rel=1e-6)


def test_temperature_mends_overconfidence_on_rows_that_it_was_not_fitted_on() -> None:
    logits, answers = drawn(2.5)
    halves = [np.arange(len(answers)) % 2 == half for half in (0, 1)]

    assert error_after(logits, answers, halves) < 0.03 < calibration_error(logits, answers)


def test_confidence_that_is_always_right_has_no_error() -> None:
    assert calibration_error(np.array([[50.0, 0.0]]), np.array([0])) == pytest.approx(0.0)
    assert calibration_error(np.array([[50.0, 0.0]]), np.array([1])) == pytest.approx(1.0)
