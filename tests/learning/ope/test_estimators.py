"""What each estimator promises: no bias where propensities are right, the model's word where there is no more."""

from __future__ import annotations

import numpy as np
import pytest

from crew_moe.learning.ope import ESTIMATORS, Estimate, evaluate
from crew_moe.learning.ope.estimators import THRESHOLDS, parts_of, threshold
from tests.learning.ope.game import CANDIDATE, MEANS, TRUTH, play


def value(seed: int, estimator: str, *, fault: float = 0.0) -> float:
    """What an estimator says of one log; its model is right but for `fault`."""
    rounds, drawn = play(seed, 400)
    found = evaluate(rounds, CANDIDATE[drawn], MEANS[drawn] + fault, estimator=estimator)
    assert isinstance(found, Estimate), found
    return found.value


@pytest.mark.parametrize("estimator", ["ips", "snips", "dr", "sndr"])
def test_no_bias_with_right_propensities_whatever_the_model(estimator: str) -> None:
    told = [value(seed, estimator, fault=0.3) for seed in range(120)]

    assert abs(np.mean(told) - TRUTH) < 3.5 * np.std(told) / np.sqrt(len(told)) + 0.002


def test_model_alone_carries_its_fault_into_the_value() -> None:
    told = [value(seed, "dm", fault=0.3) for seed in range(20)]

    assert np.mean(told) == pytest.approx(TRUTH + 0.3, abs=0.02)


@pytest.mark.parametrize("estimator", [name for name, one in ESTIMATORS.items() if one.modelled])
def test_all_agree_with_a_model_that_knows_every_reward(estimator: str) -> None:
    rounds, drawn = play(1)
    known = MEANS[drawn].copy()
    known[np.arange(len(rounds)), rounds.action] = rounds.reward

    found = evaluate(rounds, CANDIDATE[drawn], known, estimator=estimator)

    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(float((CANDIDATE[drawn] * known).sum(axis=1).mean()))


def test_a_good_model_makes_it_exacter() -> None:
    told = {name: np.std([value(seed, name) for seed in range(60)]) for name in ("ips", "snips", "dr", "blend")}

    assert told["dr"] < 0.8 * told["ips"]
    assert told["blend"] < 0.8 * told["dr"]


def test_own_policy_is_worth_the_mean_of_its_log() -> None:
    rounds, drawn = play(2)
    assert rounds.logging is not None

    for name in ("ips", "snips"):
        found = evaluate(rounds, rounds.logging, estimator=name)
        assert isinstance(found, Estimate)
        assert found.value == pytest.approx(float(rounds.reward.mean()))
    assert len(drawn) == len(rounds)


def test_what_is_refused_is_worth_nothing() -> None:
    rounds, _ = play(3)
    assert rounds.logging is not None

    for name in ("ips", "snips"):
        found = evaluate(rounds, rounds.logging / 2.0, estimator=name)
        assert isinstance(found, Estimate)
        assert found.value == pytest.approx(float(rounds.reward.mean()) / 2.0)


def test_clipping_bounds_every_weight() -> None:
    rounds, drawn = play(4)

    parts = parts_of(ESTIMATORS["ips"], rounds, CANDIDATE[drawn], None, clip=1.5)

    assert (np.abs(parts.upper) <= 1.5 * np.abs(rounds.reward) + 1e-12).all()


def test_threshold_leaves_out_weights_that_are_noise_alone() -> None:
    rng = np.random.default_rng(5)
    weight = np.where(rng.random(500) < 0.05, 40.0, 0.5)
    noise = rng.normal(0.0, 0.3, 500)
    noise[weight > 1.0] -= noise[weight > 1.0].mean()

    assert threshold(weight, noise) == 0.5
    assert threshold(weight, noise + 2.0) == 40.0
    assert threshold(np.zeros(3), np.ones(3)) == 0.0
    assert THRESHOLDS > 1
