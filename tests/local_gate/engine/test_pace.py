"""The pace of an expert is learnt from its batches."""

from __future__ import annotations

import pytest

from crew_moe.local_gate.engine.pace import Pace


def pace_of(*batches: tuple[int, float]) -> Pace:
    pace = Pace()
    for tokens, seconds in batches:
        pace.saw(tokens, seconds)
    return pace


def test_unknown_expert_is_expected_to_be_quick() -> None:
    assert Pace().expected(batches=5, tokens=5_000) == 0.0


def test_fixed_cost_is_told_from_the_cost_of_tokens() -> None:
    pace = pace_of(*((tokens, 0.02 + tokens * 0.001) for tokens in (10, 200, 40, 90) * 5))

    assert pace.expected(batches=3, tokens=100) == pytest.approx(0.16, rel=0.02)


def test_equal_batches_say_nothing_of_tokens() -> None:
    assert pace_of((100, 0.5), (101, 0.5)).expected(batches=2, tokens=9_999) == pytest.approx(1.0)


def test_expert_that_got_slower_is_believed_soon() -> None:
    pace = pace_of(*[(100, 0.01)] * 20, *[(100, 0.10)] * 10)

    assert pace.expected(batches=1, tokens=100) == pytest.approx(0.10, rel=0.15)


def test_time_is_never_negative() -> None:
    assert pace_of((10, 0.9), (500, 0.1), (1_000, 0.01)).expected(batches=1, tokens=0) >= 0.0
