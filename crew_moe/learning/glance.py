"""A glance at the store every so often: in passing where that is quick, by a thread where it crosses a network."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from typing import Final

from crew_moe.errors import StateError
from crew_moe.ports import Clock, EventSink
from crew_moe.state.forking import survives_fork

REFRESH_S: Final = 0.025
REMOTE_REFRESH_S: Final = 0.05
SHARE_OF_TIME: Final = 0.02  # of whoever looks in passing
LONGEST_S: Final = 5.0
LOST_S: Final = 1.0  # between two tries to reach a lost store


class Glance:
    """Calls `look` at most every REFRESH_S, and for no more than a fiftieth of the time; a `remote` one from a thread
    of its own, from the first `passing` until `close` or until nobody holds it any more.

    A store that is lost is told of once, as the event `learning_lost`, and once when it is back. Safe for threads and
    forks; never raises StateError.
    """

    def __init__(self, look: Callable[[], None], *, remote: bool, clock: Clock, sink: EventSink) -> None:
        self._look = look
        self._remote = remote
        self._clock = clock
        self._sink = sink
        self._lost = False
        self._closed = False
        self._forgotten: weakref.finalize[[], Glance] | None = None
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: the parent's lock and thread are none of the child's."""
        if self._forgotten is not None:
            self._forgotten.detach()
        self._forgotten = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._due = math.inf if self._closed else 0.0

    def passing(self) -> None:
        """A decision is about to be made: look, if it is time."""
        if self._clock.monotonic() < self._due or not self._lock.acquire(blocking=False):
            return
        try:
            if self._remote:
                self._start()
            else:
                began = self._clock.monotonic()
                pause = self._try()
                ended = self._clock.monotonic()
                self._due = ended + min(max(pause, (ended - began) / SHARE_OF_TIME), LONGEST_S)
        finally:
            self._lock.release()

    def at_once(self) -> None:
        """Look now, and wait for it: before the first decision."""
        with self._lock:
            self._try()

    def close(self) -> None:
        """Look no more; idempotent."""
        with self._lock:
            self._closed, self._due = True, math.inf
            self._ended.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def turn(self) -> float:
        """One look of the thread; how long to wait for the next, in seconds."""
        with self._lock:
            try:
                return LOST_S if self._closed else self._try()
            except Exception as error:  # noqa: BLE001 - the thread's edge: whatever it meets, it goes on looking
                return self._lose(error)

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._forgotten = weakref.finalize(self, self._ended.set)
            arguments = (weakref.ref(self), self._ended)
            self._thread = threading.Thread(target=_watch, args=arguments, name="crew-moe-learning", daemon=True)
            self._thread.start()
            self._due = math.inf

    def _try(self) -> float:
        try:
            self._look()
        except StateError as error:
            return self._lose(error)
        if self._lost:
            self._lost = False
            self._sink.emit("learning_back")
        return REMOTE_REFRESH_S if self._remote else REFRESH_S

    def _lose(self, error: Exception) -> float:
        """Go on without the store; how long to wait before the next try."""
        if not self._lost:
            self._lost = True
            self._sink.emit("learning_lost", error=str(error))
        return LOST_S


def _watch(glance: weakref.ref[Glance], ended: threading.Event) -> None:
    """What the thread does: it holds the glance only while it looks."""
    pause = 0.0
    while not ended.wait(pause):
        found = glance()
        if found is None:
            return
        pause = found.turn()
        del found
