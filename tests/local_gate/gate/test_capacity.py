"""The bound on an expert's share of recent choices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.local_gate.gate.capacity import WINDOW, Recent

RANKINGS = st.lists(st.permutations(("a", "b", "c")), min_size=WINDOW, max_size=2 * WINDOW)


@settings(max_examples=12)
@given(RANKINGS, st.floats(1.0, 3.0))
def test_no_expert_has_more_than_its_capacity_of_any_window(rankings: list[Sequence[str]], factor: float) -> None:
    recent, chosen = Recent(), []
    for ranked in rankings:
        chosen.append(recent.with_room(ranked, factor))
        recent = recent.after(chosen[-1])

    capacity = math.ceil(factor * WINDOW / 3)
    windows = [chosen[start : start + WINDOW] for start in range(len(chosen) - WINDOW + 1)]
    assert all(window.count(expert) <= capacity for window in windows for expert in "abc")


def test_overflow_goes_to_the_next_in_rank() -> None:
    recent = Recent(("a",) * (WINDOW // 2))

    assert recent.with_room(("a", "b"), 1.0) == "b"
    assert recent.with_room(("a", "b"), 1.1) == "a"
    assert recent.with_room(("a", "b"), None) == "a"


def test_first_choice_serves_where_nobody_has_room() -> None:
    recent = Recent(("a", "b") * (WINDOW // 2))

    assert recent.with_room(("b", "a"), 0.1) == "b"


def test_only_the_last_choices_are_kept() -> None:
    recent = Recent()
    for number in range(2 * WINDOW):
        recent = recent.after(str(number))

    assert recent.experts == tuple(str(number) for number in range(WINDOW, 2 * WINDOW))


@pytest.mark.parametrize("factor", [0.5, 1.0, None])
def test_expert_alone_always_serves(factor: float | None) -> None:
    assert Recent(("a",) * WINDOW).with_room(("a",), factor) == "a"
