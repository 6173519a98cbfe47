"""Confidence sequences hold however often somebody looks, which intervals for one look do not."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crew_moe.learning.experiment import half_width, interval, p_value

ALPHA = 0.05
LOOKS = np.arange(100, 3_001, 10)  # of decisions in both arms
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def _rates(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return (rng.random(count) < 0.9).astype(float)


def _long_tailed(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return np.exp(rng.standard_normal(count))


def _looks(values: NDArray[np.float64], candidate: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """Difference of the means and its variance at every look."""
    means, variances = [], []
    for arm in (~candidate, candidate):
        n = np.cumsum(arm)[LOOKS - 1]
        mean = np.cumsum(values * arm)[LOOKS - 1] / n
        squares = np.cumsum(values**2 * arm)[LOOKS - 1]
        means.append(mean)
        variances.append((squares / n - mean**2) / (n - 1))
    return means[1] - means[0], variances[0] + variances[1]


def _found(draw: Draw, *, runs: int, effect: float = 0.0) -> tuple[float, float]:
    """In which share of runs some look finds a difference: by the sequence, and as if each look were the only one."""
    rng = np.random.default_rng(5)
    units = np.array([half_width(1.0, float(n), plan=3_000, alpha=ALPHA) for n in LOOKS])
    always = once = 0
    for _ in range(runs):
        candidate = rng.random(LOOKS[-1]) < 0.5
        difference, variance = _looks(draw(rng, LOOKS[-1]) + effect * candidate, candidate)
        away = np.abs(difference) / np.sqrt(variance)
        always += bool((away > units).any())
        once += bool((away > 1.96).any())
    return always / runs, once / runs


@pytest.mark.parametrize("draw", [_rates, _long_tailed])
def test_looking_all_the_time_finds_nothing_where_nothing_is(draw: Draw) -> None:
    always, once = _found(draw, runs=600)

    assert always <= ALPHA
    assert once > 4 * ALPHA


def test_an_effect_of_the_planned_size_is_found() -> None:
    always, _ = _found(_rates, runs=100, effect=0.05)

    assert always > 0.8


@given(n=st.floats(1.0, 1e6), variance=st.floats(1e-9, 1e3), estimate=st.floats(-5.0, 5.0))
def test_p_value_is_below_alpha_just_where_the_interval_excludes_zero(
    n: float, variance: float, estimate: float
) -> None:
    low, high = interval(estimate, variance, n, plan=1_000, alpha=ALPHA)[1:]
    p = p_value(estimate, variance, n, plan=1_000, alpha=ALPHA)

    if abs(p - ALPHA) > 1e-9:
        assert (p < ALPHA) == (low > 0.0 or high < 0.0)


def test_interval_is_narrowest_for_its_variance_at_the_plan() -> None:
    """Measured in standard errors of one look there."""
    at_plan = half_width(1.0, 1_000, plan=1_000, alpha=ALPHA)

    assert at_plan < half_width(1.0, 1_000, plan=300, alpha=ALPHA)
    assert at_plan < half_width(1.0, 1_000, plan=3_000, alpha=ALPHA)


def test_nothing_is_known_before_the_first_observation() -> None:
    assert half_width(1.0, 0, plan=10, alpha=ALPHA) == inf
    assert p_value(0.0, 0.0, 0, plan=10, alpha=ALPHA) == 1.0
    assert p_value(1.0, 0.0, 9, plan=10, alpha=ALPHA) == 0.0
    assert half_width(0.0, 9, plan=10, alpha=ALPHA) == 0.0
    assert sqrt(2.0) * half_width(1.0, 9, plan=10, alpha=ALPHA) == pytest.approx(
        half_width(2.0, 9, plan=10, alpha=ALPHA)
    )
