"""What the meters in memory alone promise: bounded growth, and use after a fork."""

from __future__ import annotations

from datetime import timedelta

from crew_moe.domain.meter import Busy, Demand, Rate, Told
from crew_moe.state.memory.meters import FEW, MemoryMeters
from tests.state.given import NOW, later


def user(number: int) -> Demand:
    return Demand(key=f"cooldown:ask:user:{number}", rates=(Rate(name="calls", capacity=1, per_s=60.0),))


def test_meters_and_passages_that_are_over_are_forgotten() -> None:
    meters = MemoryMeters()
    for number in range(20 * FEW):
        meters.take([user(number)], NOW + timedelta(minutes=10 * number), lease_s=60.0)

    assert len(meters._meters) <= 2 * FEW
    assert sum(map(len, meters._kinds.values())) == len(meters._meters)
    assert len(meters._passages) <= 2 * FEW


def test_meters_that_are_in_use_are_kept_however_many() -> None:
    meters = MemoryMeters()
    for number in range(5 * FEW):
        meters.take([user(number)], NOW)

    assert all(isinstance(meters.take([user(number)], NOW), Busy) for number in range(5 * FEW))
    assert len(meters.busy(NOW, kind="cooldown")) == 5 * FEW


def test_looking_and_being_refused_leave_nothing_behind() -> None:
    meters = MemoryMeters()
    meters.take([user(0)], NOW)

    for number in range(100):
        meters.status(f"cooldown:{number}", NOW)
        meters.take([user(1), user(0)], NOW)

    assert list(meters._meters) == ["cooldown:ask:user:0"]


def test_other_changes_forget_too() -> None:
    meters = MemoryMeters()
    for number in range(20 * FEW):
        at = NOW + timedelta(days=2 * number)
        meters.tell(f"expert:{number}", [Told(rate="requests", remaining=1.0, capacity=9.0)], at)
        meters.close_until(f"provider:{number}", at + timedelta(seconds=9), at)

    assert len(meters._meters) <= 2 * FEW


def test_lock_that_the_parent_held_does_not_stop_a_forked_child() -> None:
    meters = MemoryMeters()
    mine = meters.take([user(0)], NOW)

    with meters._lock:
        meters.begin_anew()
        yours = meters.take([user(1)], later(seconds=1))

    assert mine != yours
    assert isinstance(meters.take([user(0)], NOW), Busy)
