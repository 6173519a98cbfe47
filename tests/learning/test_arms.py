"""Arms: what they learn is ridge regression, however it came in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.errors import StateError
from crew_moe.learning.arms import Arm, Arms, Floats
from tests.routing.given import STEADY

RIDGE = np.array([1.0, 4.0, 2.0])


def rounds(count: int, *, size: int = 3, seed: int = 1) -> tuple[Floats, Floats]:
    """Contexts (count, size) and rewards (count,) of a linear truth with noise."""
    rng = np.random.default_rng(seed)
    contexts = rng.uniform(-1.0, 1.0, (count, size))
    return contexts, contexts @ np.linspace(0.2, 0.8, size) + 0.1 * rng.standard_normal(count)


def taught(arm: Arm, contexts: Floats, rewards: Floats) -> Arm:
    for x, reward in zip(contexts, rewards.tolist(), strict=True):
        arm = arm.learned(x, reward)
    return arm


def test_an_arm_is_the_ridge_regression_of_what_it_saw() -> None:
    contexts, rewards = rounds(50)
    arm = taught(Arm.fresh(RIDGE), contexts, rewards)

    precision = np.diag(RIDGE) + contexts.T @ contexts
    assert arm.inverse @ arm.moment == pytest.approx(np.linalg.solve(precision, contexts.T @ rewards))
    assert arm.inverse == pytest.approx(np.linalg.inv(precision))
    assert arm.seen == 50


def test_an_arm_is_still_right_after_a_hundred_thousand_updates() -> None:
    contexts, rewards = rounds(1_000, size=8)
    contexts[:, 1] = contexts[:, 0] * (1 + 1e-7)  # two features that hardly differ
    ridge = np.ones(8)
    arm = Arm.fresh(ridge)
    for _ in range(100):
        arm = taught(arm, contexts, rewards)

    precision = np.diag(ridge) + 100 * contexts.T @ contexts
    assert arm.inverse @ arm.moment == pytest.approx(np.linalg.solve(precision, 100 * contexts.T @ rewards), rel=1e-6)
    assert np.linalg.eigvalsh(arm.inverse).min() > 0


def test_a_corrected_reward_counts_once() -> None:
    contexts, rewards = rounds(30)
    late = taught(Arm.fresh(RIDGE), contexts, rewards - 0.3)
    for x in contexts:
        late = late.corrected(x, 0.3)

    at_once = taught(Arm.fresh(RIDGE), contexts, rewards)
    assert late.moment == pytest.approx(at_once.moment)
    assert late.inverse == pytest.approx(at_once.inverse)
    assert late.seen == at_once.seen


def test_an_arm_survives_being_written_down() -> None:
    arm = taught(Arm.fresh(RIDGE), *rounds(20))
    again = Arm.from_bytes(arm.to_bytes())

    assert np.array_equal(again.inverse, arm.inverse)
    assert np.array_equal(again.moment, arm.moment)
    assert (again.seen, again.at) == (arm.seen, arm.at)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"\x80\x04K\x01.",
        Arm.fresh(RIDGE).to_bytes()[:-1],
        Arm.fresh(RIDGE).to_bytes()[:-8],
        Arm.fresh(np.array([0.1, np.nan])).to_bytes(),
        Arm.fresh(RIDGE).to_bytes().replace(b"arm/1", b"arm/9"),
    ],
)
def test_bytes_that_are_no_arm_are_refused(content: bytes) -> None:
    with pytest.raises(StateError, match="no arm"):
        Arm.from_bytes(content)


def test_stacked_arms_say_what_each_says_alone() -> None:
    contexts, rewards = rounds(40)
    arms = Arms.fresh(("a", "b"), RIDGE, pooled=False)
    alone = Arm.fresh(RIDGE)
    for number, (x, reward) in enumerate(zip(contexts, rewards.tolist(), strict=True)):
        arms.learn("ab"[number % 2], x, reward)
        alone = alone.learned(x, reward) if number % 2 else alone

    x = np.array([1.0, -0.5, 0.2])
    outlook = arms.outlook(x)
    assert outlook.mean[1] == pytest.approx(x @ alone.inverse @ alone.moment)
    assert outlook.width[1] == pytest.approx(np.sqrt(x @ alone.inverse @ x))
    assert arms.arm("b").seen == 20


def test_an_arm_never_tried_expects_what_the_others_earn() -> None:
    pooled, apart = (Arms.fresh(("a", "b"), RIDGE, pooled=pooled) for pooled in (True, False))
    x = np.array([1.0, 0.0, 0.0])
    for _ in range(50):
        pooled.learn("a", x, 0.8)
        apart.learn("a", x, 0.8)

    assert pooled.outlook(x).mean[1] > 0.4
    assert apart.outlook(x).mean[1] == 0.0
    assert pooled.outlook(x).width[1] == apart.outlook(x).width[1] == 1.0


def test_arms_go_on_from_what_was_kept() -> None:
    contexts, rewards = rounds(60)
    whole = Arms.fresh(("a", "b"), RIDGE, half_life=20)
    parted = Arms.fresh(("a", "b"), RIDGE, half_life=20)
    for number, (x, reward) in enumerate(zip(contexts, rewards.tolist(), strict=True)):
        name = "ab"[number % 3 == 0]
        whole.learn(name, x, reward)
        one = Arms({name: parted.arm(name)}, RIDGE, pool=parted.pool, half_life=20)
        one.learn(name, x, reward)
        known = {other: one.arm(name) if other == name else parted.arm(other) for other in parted.ids}
        parted = Arms(known, RIDGE, pool=one.pool, half_life=20)

    x = np.array([1.0, 0.5, 0.5])
    assert parted.outlook(x).mean == pytest.approx(whole.outlook(x).mean)
    assert parted.outlook(x).width == pytest.approx(whole.outlook(x).width)


def test_an_arm_that_drifts_is_believed_again_soon_with_a_half_life() -> None:
    x = np.array([1.0, 0.0, 0.0])
    firm, fading = (Arms.fresh(("a", "b"), RIDGE, half_life=half_life) for half_life in (None, 20.0))
    for reward in [0.9] * 200 + [0.1] * 40:
        firm.learn("a", x, reward)
        fading.learn("a", x, reward)

    assert fading.outlook(x).mean[0] < 0.35
    assert firm.outlook(x).mean[0] > 0.7


def test_an_arm_that_is_passed_over_gets_its_width_back_and_never_more() -> None:
    arms = Arms.fresh(("a", "b"), RIDGE, half_life=20.0)
    x = np.array([1.0, 0.0, 0.0])
    for _ in range(50):
        arms.learn("b", x, 0.5)
    widths = []
    for _ in range(300):
        arms.learn("a", x, 0.5)
        widths.append(float(arms.outlook(x).width[1]))

    assert widths == sorted(widths)
    assert widths[0] < 0.3
    assert widths[-1] == pytest.approx(1.0)  # the prior's own


def test_what_fades_counts_half_after_a_half_life() -> None:
    contexts, rewards = rounds(40)
    arm = taught(Arm.fresh(RIDGE), contexts, rewards).faded(0.5, RIDGE)

    precision = np.diag(RIDGE) + 0.5 * contexts.T @ contexts
    assert arm.inverse == pytest.approx(np.linalg.inv(precision))
    assert arm.moment == pytest.approx(0.5 * contexts.T @ rewards)
    assert arm.seen == 20


def test_a_late_correction_counts_as_little_as_its_observation_by_now() -> None:
    x = np.array([1.0, 0.0, 0.0])
    late, at_once = (Arms.fresh(("a",), RIDGE, pooled=False, half_life=10.0) for _ in range(2))
    late.learn("a", x, 0.2)
    at_once.learn("a", x, 0.9)
    for arms in (late, at_once):
        for _ in range(10):
            arms.learn("a", x, 0.5)
    late.correct("a", x, 0.7, age=10)

    assert late.outlook(x).mean == pytest.approx(at_once.outlook(x).mean)


def test_a_correction_reaches_the_pool_too() -> None:
    x = np.array([1.0, 0.0, 0.0])
    arms = Arms.fresh(("a", "b"), RIDGE)
    for _ in range(20):
        arms.learn("a", x, 0.2)
    before = arms.outlook(x).mean
    arms.correct("a", x, 0.7)

    assert (arms.outlook(x).mean > before).all()
    assert arms.observations == 20


@STEADY
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1, 2), st.integers(0, 9)), max_size=80))
def test_a_width_never_exceeds_the_priors_and_means_stay_among_rewards(seen: list[tuple[str, float, int]]) -> None:
    arms = Arms.fresh(("a", "b", "c"), RIDGE, half_life=7.0)
    contexts, _ = rounds(10)
    for name, reward, number in seen:
        arms.learn(name, contexts[number], reward)

    for x in contexts:
        mean, width = arms.outlook(x)
        assert (width <= np.sqrt(x @ (x / RIDGE)) + 1e-9).all()
        assert (np.abs(mean) <= 10.0).all()
