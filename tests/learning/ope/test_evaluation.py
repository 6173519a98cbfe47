"""Intervals: as wide as they must be, narrower with more rounds, and narrow for what two policies have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crew_moe.errors import InvalidInput
from crew_moe.learning.ope import ESTIMATORS, Estimate, Interval, compare, cross_fitted, evaluate
from tests.learning.ope.game import CANDIDATE, CONTEXTS, LOGGED_TRUTH, MEANS, TRUTH, play


def told(seed: int, count: int = 300, **method: Any) -> Estimate:
    rounds, drawn = play(seed, count)
    predicted = cross_fitted(rounds, CONTEXTS[drawn], np.random.default_rng(seed))
    found = evaluate(rounds, CANDIDATE[drawn], predicted, **method)
    assert isinstance(found, Estimate), found
    return found


@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "dm"])
def test_95_percent_intervals_cover_the_truth(estimator: str) -> None:
    found = [told(seed, estimator=estimator) for seed in range(80)]

    assert np.mean([one.low <= TRUTH <= one.high for one in found]) >= 0.9


@pytest.mark.parametrize("interval", Interval)
def test_intervals_are_narrower_with_more_rounds(interval: Interval) -> None:
    few, many = (
        told(1, count, estimator="sndr", interval=interval, rng=np.random.default_rng(0)) for count in (250, 4_000)
    )

    ratio = (few.high - few.low) / (many.high - many.low)
    assert 3.0 < ratio < 5.5


@pytest.mark.parametrize("estimator", ["ips", "snips", "sndr", "blend"])
def test_bootstrap_and_theory_agree(estimator: str) -> None:
    theory = told(2, 1_000, estimator=estimator)
    drawn = told(2, 1_000, estimator=estimator, interval=Interval.BOOTSTRAP, rng=np.random.default_rng(0))

    assert drawn.value == theory.value
    assert drawn.high - drawn.low == pytest.approx(theory.high - theory.low, rel=0.15)


def test_higher_level_is_wider() -> None:
    assert told(3, level=0.99).high > told(3).high > told(3, level=0.8).high


@pytest.mark.parametrize("estimator", ["snips", "sndr", "blend"])
def test_differences_cover_the_true_gain(estimator: str) -> None:
    covered, widths = [], []
    for seed in range(80):
        rounds, drawn = play(seed)
        predicted = cross_fitted(rounds, CONTEXTS[drawn], np.random.default_rng(seed))
        assert rounds.logging is not None
        found = compare(rounds, CANDIDATE[drawn], rounds.logging, predicted, estimator=estimator)
        assert isinstance(found, Estimate)
        covered.append(found.low <= TRUTH - LOGGED_TRUTH <= found.high)
        widths.append(found.high - found.low)
    assert np.mean(covered) >= 0.9


def test_the_same_policy_gains_nothing_for_certain() -> None:
    rounds, drawn = play(4)
    assert rounds.logging is not None

    found = compare(rounds, rounds.logging, rounds.logging, MEANS[drawn])

    assert isinstance(found, Estimate)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_what_is_wrong_is_named() -> None:
    rounds, drawn = play(5)

    with pytest.raises(InvalidInput, match="did you mean 'snips'"):
        evaluate(rounds, CANDIDATE[drawn], estimator="snip")
    with pytest.raises(InvalidInput, match="'dr' needs a reward model; allowed: ips, snips"):
        evaluate(rounds, CANDIDATE[drawn], estimator="dr")
    with pytest.raises(InvalidInput, match="one finite reward"):
        evaluate(rounds, CANDIDATE[drawn], MEANS[drawn] * np.nan)
    with pytest.raises(InvalidInput, match="a bootstrap needs an rng"):
        evaluate(rounds, CANDIDATE[drawn], estimator="ips", interval=Interval.BOOTSTRAP)
