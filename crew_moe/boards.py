"""The newest board: a snapshot of the state store, taken again when something changed, but not too often."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from crew_moe.domain.registry import Registry
from crew_moe.domain.snapshot import Breaker, Performance, Snapshot
from crew_moe.errors import StateError
from crew_moe.ports import Clock, EventSink, StateStore
from crew_moe.routing.board import Board
from crew_moe.state.forking import survives_fork
from crew_moe.state.pins import in_force
from crew_moe.telemetry.events import LogSink

REFRESH_S: Final = 0.025
REMOTE_REFRESH_S: Final = 0.05  # a fifth of what a breaker may take to be seen everywhere
STATISTICS_S: Final = 0.25  # averages move by a tenth at most: no decision is worse for reading them a little later
SHARE_OF_TIME: Final = 0.02  # a snapshot that takes long is taken more rarely
LONGEST_S: Final = 5.0
LONGEST_WAIT_S: Final = 1.0  # between two tries to reach a lost store
AGES_S: Final = 60.0
SETTLING_CALLS: Final = 20.0  # calls before a provider's share counts in full


class Boards:
    """Hands out the current Board. Asking is cheap: a clock reading, and the store's version every few milliseconds.

    A change of breakers, pins or services shows within REFRESH_S, an outcome within STATISTICS_S, or 50 times what
    taking a snapshot costs (the cheaper of the last two, since one may have waited for a lock), whichever is longer,
    but within LONGEST_S; an ejection or a pin that ends by time alone shows as soon. Records fade with age, so a
    snapshot is taken again every AGES_S even if nothing happened. `busy` tells until when which experts of a registry
    have no room; it is asked at every look, after which `also` takes one of its own.

    A store beyond a network (`state.remote`) is never waited for: a thread looks every REMOTE_REFRESH_S, from the
    first `current` until `close`, or until nobody holds the boards any more. There breakers, pins and services
    show as soon even while statistics rest.

    A store that is lost must not stop anybody from deciding: the last snapshot stays, in which ejections and pins go
    on ending by time. The event `state_lost` says so once, `state_back` when the store answers again; until then it
    is asked at intervals that grow to LONGEST_WAIT_S. Only making the boards raises StateError: what was never read
    can't be stood in for.
    """

    def __init__(
        self,
        board: Board,
        state: StateStore,
        clock: Clock,
        *,
        sink: EventSink | None = None,
        busy: Callable[[datetime, Registry], Mapping[str, datetime]] | None = None,
        also: Callable[[], None] | None = None,
    ) -> None:
        self._board = board
        self._state = state
        self._clock = clock
        self._sink = sink or LogSink()
        self._busy = busy or _nobody
        self._also = also
        self._remote = bool(getattr(state, "remote", False))
        self._interval = REMOTE_REFRESH_S if self._remote else REFRESH_S
        self._closed = False
        self._version = -1
        self._ends = 0.0
        self._took = 0.0
        self._rested = 0.0
        self._statistics_due = 0.0
        self._lost_at: float | None = None
        self._wait = 0.0
        self._forgotten: weakref.finalize[[], Boards] | None = None
        self.begin_anew()
        self._look(force=True)
        if also is not None:
            also()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: the parent's lock may be held by a thread that the child does not have."""
        if self._forgotten is not None:
            self._forgotten.detach()  # the parent's thread is none of the child's
        self._forgotten = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._due = math.inf if self._closed else 0.0

    @property
    def lost(self) -> bool:
        """Whether the store could not be read when it was asked last, so that the board is an older one."""
        return self._lost_at is not None

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """Every breaker as it was read last."""
        return self._board.snapshot.breakers

    def current(self) -> Board:
        if self._clock.monotonic() >= self._due:
            if self._remote:
                self._start()
            else:
                self.refresh()
        return self._board

    def beside(self, board: Board) -> View:
        """The same knowledge on another board, without a second look at the store."""
        return View(board, self)

    def refresh(self, *, force: bool = False) -> None:
        """Look whether the store changed, and take a new snapshot if so; another thread's look is enough.

        With `force` wait for that thread, and take a snapshot in any case, unless the store is lost.
        """
        if not self._lock.acquire(blocking=force):
            return
        try:
            pause = self._try(force=force)
            if not (self._remote or self._closed):
                self._due = max(self._clock.monotonic() + pause, self._rested)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Look no more; the last board stays. Idempotent; returns when no look is under way."""
        with self._lock:
            self._closed, self._due = True, math.inf
            self._ended.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # somebody looks just now; the next caller starts the thread
        try:
            if self._thread is None and not self._closed:
                self._forgotten = weakref.finalize(self, self._ended.set)
                arguments = (weakref.ref(self), self._ended)
                self._thread = threading.Thread(target=_watch, args=arguments, name="crew-moe-boards", daemon=True)
                self._thread.start()
                self._due = math.inf
        finally:
            self._lock.release()

    def _turn(self) -> float:
        """One look of the thread; how long to wait for the next, in seconds."""
        with self._lock:
            try:
                return self._try(force=False)
            except Exception as error:  # noqa: BLE001 - the thread's edge: whatever it meets, it goes on looking
                return self._lose(error)

    def _try(self, *, force: bool) -> float:
        if self._closed:
            return LONGEST_WAIT_S
        try:
            self._look(force=force)
        except StateError as error:
            return self._lose(error)
        if self._also is not None:
            self._also()
        if self._lost_at is not None:
            lost_s, self._lost_at = self._clock.monotonic() - self._lost_at, None
            self._sink.emit("state_back", lost_s=round(lost_s, 3))
        return self._interval

    def _lose(self, error: Exception) -> float:
        """Go on without the store; how long to wait before the next try."""
        if self._lost_at is None:
            self._lost_at, self._wait = self._clock.monotonic(), self._interval
            self._sink.emit("state_lost", error=str(error))
        else:
            self._wait = min(2 * self._wait, LONGEST_WAIT_S)
        known, now = self._board.snapshot, self._clock.now()
        busy = {expert_id: until for expert_id, until in known.busy.items() if until > now}
        if self._clock.monotonic() >= self._ends or len(busy) < len(known.busy):
            pins = tuple(pin for pin in known.pins if in_force(pin, now))
            self._adopt(replace(known, taken_at=now, pins=pins, busy=busy))
        return self._wait

    def _look(self, *, force: bool) -> None:
        began, now = self._clock.monotonic(), self._clock.now()
        known = self._board.snapshot
        version, busy = self._state.version(), self._busy(now, self._board.registry)
        over = began >= self._ends
        breakers, pins, services, urgent = known.breakers, known.pins, known.services, over
        if news := force or over or version != self._version:
            breakers, pins, services = self._state.breakers(), self._state.pins(now), self._state.services()
            urgent = over or (breakers, pins, services) != (known.breakers, known.pins, known.services)
        fresh = replace(known, taken_at=now, breakers=breakers, pins=pins, busy=busy, services=services)
        if force or (news and began >= self._rested and (urgent or began >= self._statistics_due)):
            performance = self._state.performance(now)
            share = shares(performance, self._board)
            self._adopt(replace(fresh, version=version, performance=performance, provider_share=share))
            self._version = version
            self._statistics_due = began + STATISTICS_S
            self._rest(began)
        elif urgent or busy != known.busy:
            self._adopt(fresh)

    def _rest(self, began: float) -> None:
        """Until when no whole snapshot is taken again, by what this one cost."""
        ended = self._clock.monotonic()
        took = ended - began
        self._rested = ended + min(max(REFRESH_S, min(took, self._took) / SHARE_OF_TIME), LONGEST_S)
        self._took = took

    def _adopt(self, snapshot: Snapshot) -> None:
        ends = [breaker.until for breaker in snapshot.breakers.values()] + [pin.expires_at for pin in snapshot.pins]
        now = snapshot.taken_at
        left = [(end - now).total_seconds() for end in ends if end is not None and end > now]
        self._ends = self._clock.monotonic() + min([AGES_S, *left])
        self._board = self._board.renewed(snapshot)


class View:
    """Another board, kept up to date with the snapshots of some Boards; the same three calls."""

    def __init__(self, board: Board, boards: Boards) -> None:
        self._boards = boards
        self._board = board

    def current(self) -> Board:
        newest, board = self._boards.current(), self._board
        if board.snapshot is not newest.snapshot:
            board = self._board = board.following(newest)
        return board

    def refresh(self, *, force: bool = False) -> None:
        self._boards.refresh(force=force)


def shares(performance: Mapping[tuple[str, str], Performance], board: Board) -> dict[str, float]:
    """Each provider's part of the recorded calls, 0-1, damped while there are few."""
    provider_of = dict(zip(board.columns.ids, board.columns.providers, strict=True))
    calls: dict[str, float] = {}
    for (expert_id, _), record in performance.items():
        provider = provider_of.get(expert_id)
        if provider is not None:
            calls[provider] = calls.get(provider, 0.0) + record.samples
    total = sum(calls.values()) + SETTLING_CALLS
    return {provider: count / total for provider, count in calls.items()}


def _nobody(_now: datetime, _registry: Registry) -> Mapping[str, datetime]:
    return {}


def _watch(boards: weakref.ref[Boards], ended: threading.Event) -> None:
    """What the thread does: it holds the boards only while it looks."""
    pause = 0.0
    while not ended.wait(pause):
        found = boards()
        if found is None:
            return
        pause = found._turn()
        del found
