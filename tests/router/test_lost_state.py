"""Deciding goes on by the last snapshot while the state store is lost, and recovers by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crew_moe.boards import LONGEST_WAIT_S, Boards
from crew_moe.clock import ManualClock
from crew_moe.errors import StateError
from crew_moe.state.memory.store import MemoryStore
from crew_moe.telemetry.events import Recorder
from tests.routing.given import NOW, POLICY, board
from tests.state.given import pin_to

KEY = "expert:gpt-4o"


class FailingStore(MemoryStore):
    """A store that can be lost and found, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(POLICY.breaker)
        self.lost, self.asked = False, 0

    def version(self) -> int:
        self.asked += 1
        if self.lost:
            raise StateError("the disk is gone")
        return super().version()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def boards(store: FailingStore, clock: ManualClock, sink: Recorder) -> Boards:
    return Boards(board(), store, clock, sink=sink)


def names(sink: Recorder) -> list[str]:
    return [name for name, _ in sink.events]


def test_last_snapshot_stays_while_the_store_is_lost(boards: Boards, store: FailingStore, clock: ManualClock) -> None:
    known = boards.current()
    store.lost = True
    clock.advance(1.0)

    assert boards.current() is known
    assert boards.lost


def test_forced_look_at_a_lost_store_keeps_the_snapshot(boards: Boards, store: FailingStore) -> None:
    known = boards.current()
    store.lost = True

    boards.refresh(force=True)

    assert boards.current() is known


def test_loss_and_return_are_said_once(boards: Boards, store: FailingStore, clock: ManualClock, sink: Recorder) -> None:
    for lost in (True, True, True, False, False):
        store.lost = lost
        clock.advance(1.5)
        boards.current()

    assert list(sink.events) == [("state_lost", {"error": "the disk is gone"}), ("state_back", {"lost_s": 4.5})]
    assert not boards.lost


def test_lost_store_is_asked_more_and_more_rarely(boards: Boards, store: FailingStore, clock: ManualClock) -> None:
    store.lost, store.asked = True, 0
    for _ in range(1_000):
        clock.advance(0.01)
        boards.current()
    tries, store.asked = store.asked, 0
    for _ in range(1_000):
        clock.advance(0.01)
        boards.current()

    assert tries <= 17
    assert 9 <= store.asked <= 10.0 / LONGEST_WAIT_S + 1


def test_changes_made_meanwhile_show_when_the_store_is_back(
    boards: Boards, store: FailingStore, clock: ManualClock
) -> None:
    store.lost = True
    clock.advance(1.0)
    boards.current()
    store.fail(KEY, NOW)
    store.lost = False
    clock.advance(LONGEST_WAIT_S)

    assert boards.current().snapshot.breakers[KEY].failures == 1


def test_ejections_and_pins_end_by_time_while_the_store_is_lost(
    boards: Boards, store: FailingStore, clock: ManualClock
) -> None:
    store.fail(KEY, NOW, eject_ms=10_000)
    store.pin(pin_to("o1", created_at=NOW, expires_at=NOW + timedelta(seconds=5)))
    boards.refresh(force=True)
    store.lost = True

    clock.advance(6.0)
    assert boards.current().snapshot.pins == ()
    clock.advance(6.0)

    assert boards.current().snapshot.taken_at >= NOW + timedelta(seconds=10)


def test_experts_have_room_again_by_time_while_the_store_is_lost(store: FailingStore, clock: ManualClock) -> None:
    boards = Boards(board(), store, clock, sink=Recorder(), busy=lambda now, _: {"gpt-4o": now + timedelta(seconds=2)})
    store.lost = True
    clock.advance(1.0)
    assert boards.current().snapshot.busy.keys() == {"gpt-4o"}

    clock.advance(1.0)

    assert boards.current().snapshot.busy == {}


def test_boards_do_not_begin_without_a_store(store: FailingStore, clock: ManualClock) -> None:
    store.lost = True

    with pytest.raises(StateError, match="the disk is gone"):
        Boards(board(), store, clock)
