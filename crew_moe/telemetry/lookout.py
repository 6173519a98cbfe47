"""The watcher for those who may take their time: it queues what a router does and hands it on from a thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from crew_moe.domain.happening import Happening
from crew_moe.state.forking import survives_fork

CAPACITY: Final = 50_000
AT_ONCE: Final = 50
PACE_S: Final = 0.02  # how long happenings gather before they are handed on together


class Reader(Protocol):
    """Is handed what happened, in order; called by one thread at a time."""

    def read(self, happenings: Sequence[Happening]) -> None: ...


class Lookout:
    """Implements ports.Watcher: to be told costs less than a microsecond, whatever the readers do.

    What finds the queue full is dropped and counted. A reader that raises is counted, and loses what it was handed.
    The thread starts with the first happening; a forked child starts with an empty queue and its own thread.
    """

    def __init__(self, readers: Sequence[Reader], *, capacity: int = CAPACITY, pace_s: float = PACE_S) -> None:
        self._readers = tuple(readers)
        self._capacity = capacity
        self._pace_s = pace_s
        self._closed = False
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: what the parent's queue holds, the parent's readers are handed."""
        self.dropped = 0
        self.failed = 0
        self._queue: deque[Happening] = deque()
        self._reading = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._idle = True
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many happenings are queued."""
        return len(self._queue)

    def saw(self, happening: Happening) -> None:
        queue = self._queue
        if len(queue) >= self._capacity:
            self.dropped += 1
            return
        queue.append(happening)
        if self._idle:
            self._rouse()

    def flush(self) -> None:
        """Return when all that was seen so far has been handed on."""
        with self._reading:
            left = len(self._queue)
            while left > 0:
                count = min(left, AT_ONCE)
                self._hand_on([self._queue.popleft() for _ in range(count)])
                left -= count
                time.sleep(0)  # lets those go on who decide meanwhile: else they wait for a whole turn

    def _hand_on(self, happenings: Sequence[Happening]) -> None:
        for reader in self._readers:
            try:
                reader.read(happenings)
            except Exception:  # noqa: BLE001 - the edge between the router and those who look on
                self.failed += 1

    def close(self) -> None:
        """Hand on what is queued and end the thread; what comes later is dropped."""
        self._closed = True
        self._capacity = 0
        self._ended.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _rouse(self) -> None:
        self._idle = False
        self._wake.set()
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="crew-moe-lookout", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self._idle = True
            if not self._queue:
                self._wake.wait()
            self._idle = False
            self._wake.clear()
            self._ended.wait(self._pace_s)
            self.flush()
