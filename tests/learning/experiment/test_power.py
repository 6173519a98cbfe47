"""How many decisions it takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.learning.experiment import detectable, samples_needed
from crew_moe.learning.experiment.power import WIDEST, spread_of_rate


@given(effect=st.floats(0.005, 0.5), share=st.floats(0.05, 0.95), peeking=st.booleans())
def test_what_is_needed_detects_the_effect(effect: float, share: float, peeking: bool) -> None:
    needed = samples_needed(effect, WIDEST, share=share, peeking=peeking)

    assert detectable(needed.total, WIDEST, share=share, peeking=peeking) <= effect * 1.0001


def test_halves_are_the_cheapest_split() -> None:
    assert samples_needed(0.05, 0.5).total < samples_needed(0.05, 0.5, share=0.2).total


def test_rates_far_from_a_half_need_fewer() -> None:
    assert spread_of_rate(0.5) == WIDEST
    assert samples_needed(0.05, spread_of_rate(0.9)).control < samples_needed(0.05, WIDEST).control / 2


def test_promised_power_is_there() -> None:
    """A single look at the planned number of decisions finds the effect as often as promised."""
    rng, needed = np.random.default_rng(3), samples_needed(0.1, WIDEST, peeking=False)
    difference = (
        rng.binomial(needed.candidate, 0.55, 4_000) / needed.candidate
        - rng.binomial(needed.control, 0.45, 4_000) / needed.control
    )
    found = np.mean(difference > 1.96 * WIDEST * np.sqrt(1 / needed.candidate + 1 / needed.control))

    assert found == pytest.approx(0.8, abs=0.03)
