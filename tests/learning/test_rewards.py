"""What an answer was worth: seed 001's weights, what is known of it, and factors of one's own."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe import Feedback
from crew_moe.domain.policy import RewardPolicy
from crew_moe.learning.rewards import Factor, Facts, Rewards, facts_in, facts_of
from tests.state.given import STEADY

PLAIN = Rewards(RewardPolicy())
UNIT = st.floats(0.0, 1.0)
FACTS = st.builds(
    Facts,
    success=st.none() | st.booleans(),
    outcome=st.none() | st.sampled_from(["success", "partial", "failure"]),
    quality=st.none() | UNIT,
    rating=st.none() | st.integers(1, 5),
    pr_merged=st.none() | st.booleans(),
    pr_reverted=st.none() | st.booleans(),
    latency_ms=st.none() | st.floats(0.0, 1e9),
    cost_usd=st.none() | st.floats(0.0, 1e6),
)


@pytest.mark.parametrize(
    ("told", "worth"),
    [
        ({"outcome": "success"}, 1.0),
        ({"outcome": "partial"}, 0.5),
        ({"outcome": "failure"}, 0.0),
        ({"rating": 1}, 0.0),
        ({"rating": 2}, 0.25),
        ({"rating": 5}, 1.0),
        ({"outcome": "partial", "pr_merged": True}, 0.7),
        ({"outcome": "success", "pr_merged": True}, 1.0),
        ({"outcome": "success", "pr_reverted": True}, 0.5),
        ({"outcome": "failure", "pr_reverted": True}, 0.0),
        ({"outcome": "success", "quality": 0.6}, 0.8),
        ({"quality": 0.4, "rating": 5}, 0.7),
        ({"pr_merged": True}, 0.7),
        ({"success": True, "rating": 1}, 0.0),
        ({"success": True}, 1.0),
        ({"success": False, "quality": 1.0}, 0.5),
    ],
)
def test_a_reward_is_what_is_known_of_the_answer(told: dict[str, object], worth: float) -> None:
    assert PLAIN.of(Facts(**told)) == pytest.approx(worth)  # type: ignore[arg-type]


@pytest.mark.parametrize("told", [{}, {"latency_ms": 20.0, "cost_usd": 0.5}, {"pr_merged": False}])
def test_what_nobody_judged_has_no_reward(told: dict[str, object]) -> None:
    assert PLAIN.of(Facts(**told)) is None  # type: ignore[arg-type]


def test_latency_and_cost_are_penalties_up_to_their_weight() -> None:
    policy = RewardPolicy(latency=0.2, cost=0.3, latency_scale_ms=1_000.0, cost_scale_usd=Decimal("0.5"))
    rewards = Rewards(policy)

    assert rewards.of(Facts(quality=0.9, latency_ms=500.0)) == pytest.approx(0.8)
    assert rewards.of(Facts(quality=0.9, cost_usd=0.25)) == pytest.approx(0.75)
    assert rewards.of(Facts(quality=0.9, latency_ms=1e6, cost_usd=1e6)) == pytest.approx(0.4)
    assert rewards.of(Facts(quality=0.1, latency_ms=1e6, cost_usd=1e6)) == 0.0


def test_weights_count_in_proportion_to_what_is_known() -> None:
    rewards = Rewards(RewardPolicy(outcome=3.0, quality=1.0))

    assert rewards.of(Facts(outcome="success", quality=0.0)) == pytest.approx(0.75)
    assert rewards.of(Facts(quality=0.2)) == pytest.approx(0.2)
    assert Rewards(RewardPolicy(outcome=0.0)).of(Facts(outcome="success")) is None


@STEADY
@given(FACTS, st.builds(RewardPolicy, outcome=UNIT, quality=UNIT, latency=UNIT, cost=UNIT))
def test_rewards_lie_between_0_and_1(facts: Facts, policy: RewardPolicy) -> None:
    worth = Rewards(policy, [Factor("own", 1.0, lambda one: one.quality)]).of(facts)

    assert worth is None or 0.0 <= worth <= 1.0


@STEADY
@given(FACTS, FACTS)
def test_later_facts_take_the_place_of_earlier_ones_and_leave_the_rest(facts: Facts, later: Facts) -> None:
    both = facts.but(later)

    assert both.but(later) == both
    assert both.as_dict() == facts.as_dict() | later.as_dict()


def test_a_factor_of_ones_own_counts_by_its_weight() -> None:
    brief = Factor("brief", 3.0, lambda facts: 0.0 if facts.expert_id == "wordy" else 1.0)

    assert Rewards(RewardPolicy(), [brief]).of(Facts(expert_id="wordy", quality=1.0)) == pytest.approx(0.25)


@pytest.mark.parametrize("value", [math.nan, math.inf, "much", ZeroDivisionError("no")])
def test_a_factor_that_fails_is_told_of_and_left_out(value: object) -> None:
    def own(_: Facts) -> float:
        if isinstance(value, Exception):
            raise value
        return value  # type: ignore[return-value]

    told: list[str] = []
    rewards = Rewards(RewardPolicy(), [Factor("own", 1.0, own)], failed=lambda name, _: told.append(name))

    assert rewards.of(Facts(quality=0.3)) == pytest.approx(0.3)
    assert told == ["own"]


def test_a_factor_that_has_nothing_to_say_is_left_out() -> None:
    silent = Factor("silent", 5.0, lambda _: None)

    assert Rewards(RewardPolicy(), [silent]).of(Facts(quality=0.3)) == pytest.approx(0.3)


def test_facts_are_read_off_rows_and_feedback() -> None:
    row = {"expert_id": "a", "success": True, "latency_ms": 12.5, "cost_usd": "0.25", "quality": 0.5}
    failed = {"expert_id": "a", "success": False, "latency_ms": 9.0, "cost_usd": "0"}
    judged = Feedback(decision_id="d", source="s", rating=4, pr_merged=False)

    assert facts_in(row, task_type="testing") == Facts(
        expert_id="a", task_type="testing", success=True, latency_ms=12.5, cost_usd=0.25, quality=0.5
    )
    assert facts_in(failed, task_type="testing") == Facts(expert_id="a", task_type="testing", success=False)
    assert facts_of(judged, expert_id="a", task_type="testing") == Facts(
        expert_id="a", task_type="testing", rating=4, pr_merged=False
    )
