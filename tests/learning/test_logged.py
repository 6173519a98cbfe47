"""Rows of a log as rounds: what belongs together, what counts, and what is left out with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from crew_moe.domain.policy import RewardPolicy
from crew_moe.learning.logged import Came, Choice, Logged, Reading
from crew_moe.learning.rewards import Rewards
from crew_moe.simulation import Reason

Row = dict[str, Any]


def decision(name: str = "d-1", **changes: Any) -> Row:
    """A decision for `a`, with `b` eligible and `c` ruled out."""
    usual: Row = {
        "kind": "decision",
        "ok": True,
        "decision_id": name,
        "expert_id": "a",
        "task_type": "planning",
        "identity": {"tenant": "0f"},
        "features": {"script": "Latn", "risk": "low", "input_tokens": 10, "code_marks": 0},
        "rejections": [{"expert_id": "c", "rule": "access", "also": []}],
        "insight": None,
    }
    return {**usual, **changes}


def call(name: str = "d-1", *, number: int = 1, expert: str = "a", success: bool = True, **told: Any) -> Row:
    usual = {"kind": "attempt", "decision_id": name, "number": number, "expert_id": expert, "success": success}
    return {**usual, "cost_usd": "0.01", "latency_ms": 100.0, **told}


def read(
    *rows: Row, now: Mapping[str, float] | Reason = Reason.TOO_OLD, then: Mapping[str, float] | None = None
) -> Logged:
    """The rounds of these rows."""
    chances = {"a": 0.5, "b": 0.5} if then is None else then
    reading = Reading(then=lambda _: chances, now=lambda _: now)
    for row in rows:
        reading.take(row)
    return reading.joined(Rewards(RewardPolicy()))


def round_of(*rows: Row, **given: Any) -> tuple[Choice, Came]:
    found = read(*rows, **{"now": {"b": 1.0}, **given})
    assert len(found.rounds) == 1, found
    return found.rounds[0]


def test_all_that_happened_counts_for_the_choice() -> None:
    _, came = round_of(decision(), call(success=False, error="timeout"), call(number=2, expert="b", latency_ms=300.0))

    assert (came.kept, came.cost_usd, came.latency_ms, came.reward) == (0.0, 0.02, 400.0, 1.0)


def test_feedback_and_reports_are_joined_with_the_call() -> None:
    report = {"kind": "outcome", "decision_id": "d-1", "expert_id": "a", "attempt": 1, "success": True, "quality": 0.4}
    feedback = {"kind": "feedback", "decision_id": "d-1", "source": "s", "rating": 5, "outcome": "partial"}

    _, came = round_of(decision(), call(), report, feedback)

    assert came.reward == pytest.approx((0.5 + (0.4 + 1.0) / 2) / 2)
    assert (came.cost_usd, came.latency_ms, came.kept) == (0.01, 100.0, 1.0)


def test_judgement_alone_tells_of_the_reward_alone() -> None:
    _, came = round_of(decision(), {"kind": "feedback", "decision_id": "d-1", "source": "s", "rating": 1})

    assert came == Came(reward=0.0)


def test_answer_of_nobody_is_worth_nothing() -> None:
    _, came = round_of(decision(), call(success=False, error="denied", cost_usd="0", latency_ms=0.0))

    assert (came.kept, came.reward) == (0.0, 0.0)


def test_experts_ruled_out_for_safety_are_breaches() -> None:
    choice, _ = round_of(decision(), call(), now={"b": 0.6, "c": 0.4})

    assert (choice.candidate, choice.breach) == ({"b": 0.6}, 0.4)


@pytest.mark.parametrize("rule", ["residency", "local_only", "moderation"])
def test_every_rule_of_safety_counts_though_another_came_first(rule: str) -> None:
    rejected = [{"expert_id": "c", "rule": "tier", "also": [rule]}]

    choice, _ = round_of(decision(rejections=rejected), call(), now={"c": 1.0})

    assert choice.breach == 1.0


def test_demands_of_screening_and_the_gate_count_too() -> None:
    demands = {"forbidden": {"b": ["denied"]}, "moderated": False, "local_only": False, "max_tier": None}

    choice, _ = round_of(decision(demands=demands), call())

    assert choice.breach == 1.0


def test_what_is_no_round_is_counted_by_reason() -> None:
    nobody = read(decision(ok=False, expert_id=None), now={"b": 1.0})
    untold = read(decision(), call(), now={"b": 1.0}, then={})
    silent = read(decision(), now={"b": 1.0})
    another = read(decision(), call(expert="b"), now={"b": 1.0})
    old = read(decision(), call())

    found = [one.left_out for one in (nobody, untold, silent, another, old)]
    assert found == [{"nobody": 1}, {"untold": 1}, {"unobserved": 1}, {"unobserved": 1}, {"too_old": 1}]
    assert all(one.seen == 1 and not one.rounds for one in (nobody, untold, silent, another, old))


def test_who_asked_stays_a_commitment_and_is_no_feature() -> None:
    choice, _ = round_of(decision(), call())

    assert choice.cohorts == {"task_type": "planning", "tenant": "0f", "language": "Latn"}
    assert not any("0f" in name for name in choice.context)
