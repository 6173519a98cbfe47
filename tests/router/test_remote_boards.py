"""A store beyond a network: nobody waits for it, and a thread sees to it that its changes show."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator, Mapping
from datetime import datetime

import pytest

from crew_moe.boards import Boards
from crew_moe.clock import ManualClock, SystemClock
from crew_moe.domain.snapshot import Circuit, Performance
from crew_moe.errors import StateError
from crew_moe.state.memory.store import MemoryStore
from crew_moe.telemetry.events import Recorder
from tests.router.test_lost_state import names
from tests.routing.given import NOW, POLICY, board
from tests.state.given import SAMPLE, service_named
from tests.waiting import PATIENCE_S, until

KEY = "expert:gpt-4o"


class RemoteStore(MemoryStore):
    """A memory store that says it is far away, counts looks, and can be made to hang or to fail."""

    remote = True

    def __init__(self) -> None:
        super().__init__(POLICY.breaker)
        self.looks, self.whole = 0, 0
        self.error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()

    def version(self) -> int:
        self.looks += 1
        assert self.answers.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        return super().version()

    def performance(self, now: datetime) -> Mapping[tuple[str, str], Performance]:
        self.whole += 1
        return super().performance(now)


@pytest.fixture
def store() -> RemoteStore:
    return RemoteStore()


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def boards(store: RemoteStore, sink: Recorder) -> Iterator[Boards]:
    opened = Boards(board(), store, SystemClock(), sink=sink)
    yield opened
    store.answers.set()
    opened.close()


def _failures(boards: Boards) -> int:
    known = boards.current().snapshot.breakers
    return known[KEY].failures if KEY in known else 0


def _two_more_looks(store: RemoteStore) -> None:
    """When the second begins, the first is over."""
    seen = store.looks
    until(lambda: store.looks >= seen + 2)


def test_nobody_looks_before_the_first_decision(boards: Boards, store: RemoteStore) -> None:
    assert boards._thread is None
    assert store.looks == 1

    boards.current()

    until(lambda: store.looks > 1)


def test_change_shows_without_anybody_waiting(boards: Boards, store: RemoteStore) -> None:
    boards.current()
    store.fail(KEY, NOW, eject_ms=60_000)

    until(lambda: _failures(boards) == 1)

    assert boards.current().snapshot.breakers[KEY].state is Circuit.OPEN


def test_store_that_hangs_holds_nobody_up(boards: Boards, store: RemoteStore) -> None:
    store.answers.clear()
    boards.current()
    until(lambda: store.looks == 2)  # the thread is inside, and has the lock
    store.fail(KEY, NOW)

    assert _failures(boards) == 0
    store.answers.set()
    until(lambda: _failures(boards) == 1)


def test_forced_look_is_done_when_it_returns(boards: Boards, store: RemoteStore) -> None:
    store.fail(KEY, NOW)

    boards.refresh(force=True)

    assert _failures(boards) == 1


def test_breaker_shows_while_statistics_rest(store: RemoteStore) -> None:
    clock = ManualClock(NOW)  # it stands still, so statistics rest for ever
    boards = Boards(board(), store, clock)
    store.record(SAMPLE, NOW)
    store.fail(KEY, NOW)

    until(lambda: _failures(boards) == 1)

    assert (store.whole, boards.current().snapshot.performance) == (1, {})
    clock.advance(0.3)
    until(lambda: ("gpt-4o", "testing") in boards.current().snapshot.performance)
    boards.close()


def test_services_show_while_statistics_rest(store: RemoteStore) -> None:
    boards = Boards(board(), store, ManualClock(NOW))  # it stands still, so statistics rest for ever
    boards.current()
    store.register(service_named())

    until(lambda: "embedder" in boards.current().registry)

    assert store.whole == 1
    boards.close()


def test_nothing_new_reads_no_more_than_the_version(boards: Boards, store: RemoteStore) -> None:
    before = boards.current()

    _two_more_looks(store)

    assert boards.current() is before
    assert store.whole == 1


@pytest.mark.parametrize("error", [StateError("gone"), ValueError("garbled")])
def test_thread_outlives_whatever_the_store_raises(
    boards: Boards, store: RemoteStore, sink: Recorder, error: Exception
) -> None:
    boards.current()
    store.error = error
    until(lambda: boards.lost)
    store.fail(KEY, NOW)
    _two_more_looks(store)
    assert _failures(boards) == 0

    store.error = None

    until(lambda: _failures(boards) == 1)
    assert names(sink) == ["state_lost", "state_back"]


def test_two_boards_share_one_look(boards: Boards, store: RemoteStore) -> None:
    beside = boards.beside(board(live=True))
    store.fail(KEY, NOW)
    until(lambda: _failures(boards) == 1)

    assert beside.current().snapshot is boards.current().snapshot
    assert beside.current() is beside.current()
    assert beside.current().live
    assert store.whole <= 2


def test_close_ends_the_thread_and_keeps_the_board(boards: Boards, store: RemoteStore) -> None:
    known = boards.current()
    thread = boards._thread
    boards.close()
    looks = store.looks
    boards.refresh(force=True)

    assert thread is not None
    assert not thread.is_alive()
    assert boards.current() is known
    assert store.looks == looks
    boards.close()


def test_boards_that_nobody_holds_end_their_thread(store: RemoteStore) -> None:
    boards = Boards(board(), store, SystemClock())
    boards.current()
    thread, gone = boards._thread, weakref.ref(boards)
    assert thread is not None

    del boards
    until(lambda: gc.collect() >= 0 and gone() is None)

    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_forked_child_looks_for_itself(boards: Boards, store: RemoteStore) -> None:
    boards.current()
    parents = boards._thread
    assert parents is not None
    boards._ended.set()  # as in a child, where the parent's thread does not run
    parents.join(PATIENCE_S)
    with boards._lock:
        boards.begin_anew()
    store.fail(KEY, NOW)

    until(lambda: _failures(boards) == 1)
