"""Shares in windows of time, and whether they moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from crew_moe.learning.drift import Window, drift, windows

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def window(**counts: int) -> Window:
    return Window(start=BEGIN, end=BEGIN + HOUR, counts=tuple((name, count) for name, count in counts.items() if count))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_windows_are_of_equal_length_and_hold_everything() -> None:
    chosen = [(BEGIN + number * HOUR, "a" if number < 6 else "b") for number in range(9)]

    found = windows(chosen, 4)

    assert [window.counts for window in found] == [(("a", 2),), (("a", 2),), (("a", 2),), (("b", 3),)]
    assert [window.end - window.start for window in found] == [2 * HOUR] * 4
    assert (found[0].start, found[-1].end) == (BEGIN, BEGIN + 8 * HOUR)


def test_one_moment_is_one_window_and_none_is_none() -> None:
    assert [found.total for found in windows([(BEGIN, "a"), (BEGIN, "b")], 8)] == [2]
    assert windows([], 8) == ()


def test_span_without_a_decision_is_an_empty_window() -> None:
    found = windows([(BEGIN, "a"), (BEGIN + 9 * HOUR, "a")], 3)

    assert [window.total for window in found] == [1, 0, 1]
    assert found[1].share("a") == 0.0
    assert found[1].as_dict()["shares"] == {}


def test_same_shares_are_no_drift() -> None:
    found = drift(window(a=60, b=40), window(a=30, b=20), rng())

    assert found is not None
    assert (found.total_variation, found.chi_square) == pytest.approx((0.0, 0.0))
    assert found.stability_index == pytest.approx(0.0, abs=1e-3)
    assert found.p_value == 1.0


def test_share_that_moved_is_told_with_its_size_and_how_likely_chance_is() -> None:
    found = drift(window(a=80, b=20), window(a=50, b=40, c=10), rng())

    assert found is not None
    assert found.total_variation == pytest.approx(0.3)
    assert found.chi_square == pytest.approx(30**2 / 130 + 20**2 / 60 + 10**2 / 10)
    assert found.stability_index > 0.25
    assert found.p_value < 0.001


def test_test_gives_false_alarms_as_often_as_it_says() -> None:
    chance = np.random.default_rng(7)
    alarms = 0
    for _ in range(200):
        first, last = (chance.multinomial(30, [0.7, 0.2, 0.07, 0.03]) for _ in range(2))
        names = "abcd"
        found = drift(
            window(**dict(zip(names, first.tolist(), strict=True))),
            window(**dict(zip(names, last.tolist(), strict=True))),
            chance,
        )
        assert found is not None
        alarms += found.p_value <= 0.05

    assert 1 <= alarms <= 18


def test_few_decisions_say_nothing_of_a_change() -> None:
    assert drift(window(a=19), window(b=100), rng()) is None
    assert drift(window(a=100), window(b=19), rng()) is None
    assert drift(window(a=20), window(b=20), rng()) is not None
