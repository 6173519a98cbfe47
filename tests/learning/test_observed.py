"""What is seen of one decision becomes its figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crew_moe.domain.policy import RewardPolicy
from crew_moe.learning.observed import Observed
from crew_moe.learning.rewards import Facts, Rewards

REWARDS = Rewards(RewardPolicy())
FAILED = {"expert_id": "a", "success": False, "latency_ms": 300.0, "cost_usd": None, "error": "timeout"}
SERVED = {"expert_id": "b", "success": True, "latency_ms": 700.0, "cost_usd": "0.25", "error": None}


def _after(*rows: dict[str, Any]) -> Observed:
    seen = Observed()
    for row in rows:
        seen = seen.served(row, "planning")
    return seen


@pytest.mark.parametrize("rows", [(FAILED, SERVED), (SERVED, FAILED)])
def test_a_fallback_makes_a_success_that_took_longer(rows: tuple[dict[str, Any], ...]) -> None:
    figures = _after(*rows).figures(REWARDS)

    assert figures == {"reward": 1.0, "success": 1.0, "cost": 0.25, "latency": 1000.0, "violations": 0.0}


@pytest.mark.parametrize(("error", "violations"), [("denied", 1.0), ("refused", 1.0), ("timeout", 0.0)])
def test_what_the_gate_or_a_safety_system_stopped_is_a_violation(error: str, violations: float) -> None:
    assert _after({**FAILED, "error": error}, SERVED).figures(REWARDS)["violations"] == violations


def test_judgements_count_as_far_as_their_voices_may() -> None:
    seen = _after(SERVED).judged("one", Facts(outcome="failure", quality=0.2), 0.5)

    figures = seen.judged("nobody", Facts(outcome="failure", quality=0.0), 0.0).figures(REWARDS)

    assert figures["quality"] == 0.2
    assert figures["reward"] == pytest.approx(0.5 * 0.1 + 0.5 * 1.0)


def test_what_nobody_told_is_left_out() -> None:
    assert Observed().figures(REWARDS) == {}
    assert "cost" not in _after({**SERVED, "cost_usd": None}).figures(REWARDS)


def test_what_was_seen_survives_being_written() -> None:
    seen = _after(FAILED, SERVED).judged("one", Facts(quality=0.5), 0.25)

    assert Observed.of_row(json.loads(json.dumps(seen.as_row()))) == seen
