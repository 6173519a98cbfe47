"""The reward model: it has not seen what it predicts, and shares what arms have in common."""

from __future__ import annotations

import numpy as np

from crew_moe.learning.ope import Rounds, cross_fitted
from tests.learning.ope.game import ARMS, CONTEXTS, MEANS, play


def test_it_learns_what_a_context_means_for_an_arm() -> None:
    rounds, drawn = play(1, 2_000)

    predicted = cross_fitted(rounds, CONTEXTS[drawn], np.random.default_rng(0))

    unexplained = np.var(predicted - MEANS[drawn]) / np.var(MEANS[drawn])
    assert unexplained < 0.1


def test_no_round_is_predicted_from_its_own_reward() -> None:
    rounds, drawn = play(2, 60)
    before = cross_fitted(rounds, CONTEXTS[drawn], np.random.default_rng(0))
    reward = rounds.reward.copy()
    reward[7] += 1_000.0
    changed = Rounds.of(action=rounds.action, reward=reward, propensity=rounds.propensity, arms=ARMS)

    after = cross_fitted(changed, CONTEXTS[drawn], np.random.default_rng(0))

    moved = np.abs(after - before).max(axis=1)
    assert moved[7] < 0.5 < np.sort(moved)[len(moved) // 2]


def test_an_arm_without_rounds_has_what_all_have_in_common() -> None:
    rng = np.random.default_rng(3)
    context = rng.normal(size=(500, 1))
    reward = 0.5 + 0.2 * context[:, 0]
    rounds = Rounds.of(action=rng.integers(0, 2, 500), reward=reward, propensity=[0.5] * 500, arms=3)

    predicted = cross_fitted(rounds, context, rng)

    assert np.corrcoef(predicted[:, 2], reward)[0, 1] > 0.99


def test_a_good_prior_is_kept_and_a_shifted_one_is_put_right() -> None:
    rounds, drawn = play(4, 400)
    errors = {
        shift: np.abs(
            cross_fitted(rounds, CONTEXTS[drawn], np.random.default_rng(0), prior=MEANS[drawn] + shift) - MEANS[drawn]
        ).mean()
        for shift in (0.0, 0.4)
    }

    assert errors[0.0] < 0.04
    assert errors[0.4] < 0.06


def test_features_that_never_differ_change_nothing() -> None:
    rounds, _ = play(5, 100)

    plain = cross_fitted(rounds, np.zeros((100, 0)), np.random.default_rng(0))
    constant = cross_fitted(rounds, np.ones((100, 3)), np.random.default_rng(0))

    assert np.array_equal(plain, constant)
