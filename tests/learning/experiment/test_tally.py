"""Counts add up in whatever order they come, and survive being written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.errors import StateError
from crew_moe.learning.experiment import Arm, Moments, Tally
from crew_moe.learning.experiment.metrics import METRICS
from crew_moe.learning.experiment.tally import MAX_COHORTS, OTHERS
from tests.routing.given import STEADY

ONES = st.builds(
    Tally.one,
    st.sampled_from(Arm),
    st.dictionaries(st.sampled_from(list(METRICS)), st.sampled_from([0.0, 0.25, 1.0, 3.0])),
    unit=st.integers(0, 31),
    cohort=st.sampled_from(["a", "b", None]),
)


def _told(tally: Tally) -> dict[str, object]:
    return {
        f"{arm} {name} {cohort}": tally.of(arm, name, cohort)
        for arm in Arm
        for name in METRICS
        for cohort in (None, *sorted(tally.cohorts))
    }


@settings(STEADY, max_examples=30)
@given(st.lists(ONES, max_size=8), st.randoms(use_true_random=False))
def test_order_makes_no_difference(ones: list[Tally], chance: object) -> None:
    first, second = Tally(), Tally()
    for one in ones:
        first = first.plus(one)
    chance.shuffle(ones)  # type: ignore[attr-defined]  # the strategy's random.Random
    for one in ones:
        second = one.plus(second)

    assert _told(first) == _told(second)


@settings(STEADY, max_examples=30)
@given(st.lists(ONES, max_size=4))
def test_counts_survive_being_written(ones: list[Tally]) -> None:
    tally = Tally()
    for one in ones:
        tally = tally.plus(one)

    read = Tally.from_bytes(tally.as_bytes())

    assert read.cohorts == tally.cohorts
    assert np.array_equal(read.cells, tally.cells)


def test_what_was_taken_back_leaves_nothing() -> None:
    given = Tally.one(Arm.CONTROL, {"reward": 0.25}, unit=3, cohort="analysis")

    assert given.plus(Tally.one(Arm.CONTROL, {"reward": 0.25}, unit=3, cohort="analysis", times=-1.0)).empty
    assert not given.empty


def test_moments_are_mean_and_variance() -> None:
    tally = Tally()
    for unit, value in enumerate([1.0, 2.0, 6.0]):
        tally = tally.plus(Tally.one(Arm.CANDIDATE, {"cost": value}, unit=unit))
    found = tally.of(Arm.CANDIDATE, "cost")

    assert found.mean == 3.0
    assert found.variance == pytest.approx(7.0)
    assert (Moments().mean, Moments(1.0, 2.0, 4.0).variance) == (0.0, 0.0)


def test_cohorts_are_bounded() -> None:
    tally = Tally()
    for number in range(100):
        tally = tally.plus(Tally.one(Arm.CONTROL, {"reward": 1.0}, unit=0, cohort=f"c{number}"))

    assert len(tally.cohorts) == MAX_COHORTS
    assert sum(tally.of(Arm.CONTROL, "reward", name).n for name in tally.cohorts) == 100
    assert tally.of(Arm.CONTROL, "reward", OTHERS).n == 37


def test_counts_of_a_version_with_fewer_metrics_are_read() -> None:
    head = {"metrics": ["cost"], "units": 32, "cohorts": []}
    cells = np.ones((2, 1, 33, 3))

    read = Tally.from_bytes(json.dumps(head).encode() + b"\n" + cells.tobytes())

    assert (read.of(Arm.CONTROL, "cost").n, read.of(Arm.CONTROL, "reward").n) == (1.0, 0.0)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[]\n", Tally().as_bytes()[:-1], b'{"metrics": 3}\n'])
def test_broken_counts_are_a_state_error(content: bytes) -> None:
    with pytest.raises(StateError, match="can't be read"):
        Tally.from_bytes(content)
