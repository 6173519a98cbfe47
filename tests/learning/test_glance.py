"""A glance is taken in passing or by a thread, seldom enough, and a lost store is told of once."""

from __future__ import annotations

import gc
import threading
import weakref

from crew_moe.clock import ManualClock
from crew_moe.errors import StateError
from crew_moe.learning.glance import LOST_S, REFRESH_S, Glance
from crew_moe.telemetry.events import Recorder
from tests.state.given import NOW
from tests.waiting import until


class Store:
    """Counts looks; fails while it is `lost`."""

    def __init__(self) -> None:
        self.looks = 0
        self.lost = False

    def look(self) -> None:
        self.looks += 1
        if self.lost:
            raise StateError("gone")


def _glance(store: Store, clock: ManualClock, *, remote: bool = False) -> tuple[Glance, Recorder]:
    sink = Recorder()
    return Glance(store.look, remote=remote, clock=clock, sink=sink), sink


def test_looks_in_passing_are_seldom() -> None:
    store, clock = Store(), ManualClock(NOW)
    glance, _ = _glance(store, clock)
    for _ in range(50):
        glance.passing()
    clock.advance(REFRESH_S)
    glance.passing()

    assert store.looks == 2


def test_a_lost_store_is_told_of_once_and_asked_less_often() -> None:
    store, clock = Store(), ManualClock(NOW)
    glance, sink = _glance(store, clock)
    store.lost = True
    for _ in range(3):
        glance.passing()
        clock.advance(LOST_S)
    store.lost = False
    glance.passing()

    assert [event for event, _ in sink.events] == ["learning_lost", "learning_back"]
    assert store.looks == 4


def test_a_remote_store_is_looked_at_by_a_thread_until_it_is_closed() -> None:
    store = Store()
    glance, _ = _glance(store, ManualClock(NOW), remote=True)
    assert store.looks == 0

    glance.passing()
    until(lambda: store.looks >= 2)
    glance.close()
    looks = store.looks
    glance.passing()

    assert store.looks == looks
    assert "crew-moe-learning" not in [thread.name for thread in threading.enumerate()]


def test_a_thread_survives_what_it_meets() -> None:
    met = iter([ValueError("odd"), None, None])

    def look() -> None:
        error = next(met, None)
        if error is not None:
            raise error

    sink = Recorder()
    glance = Glance(look, remote=True, clock=ManualClock(NOW), sink=sink)
    glance.passing()

    until(lambda: [event for event, _ in sink.events] == ["learning_lost", "learning_back"])
    glance.close()


def test_a_thread_ends_when_nobody_holds_the_glance() -> None:
    store = Store()
    glance, _ = _glance(store, ManualClock(NOW), remote=True)
    glance.passing()
    until(lambda: store.looks >= 1)
    gone = weakref.ref(glance)
    del glance
    gc.collect()

    until(lambda: gone() is None)
    until(lambda: "crew-moe-learning" not in [thread.name for thread in threading.enumerate()])
