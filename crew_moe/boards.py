"""The newest board: a snapshot of the state store, taken again when something changed, but not too often."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from crew_moe.domain.snapshot import Performance, Snapshot
from crew_moe.ports import Clock, StateStore
from crew_moe.routing.board import Board
from crew_moe.state.forking import survives_fork

REFRESH_S: Final = 0.025
STATISTICS_S: Final = 0.25  # averages move by a tenth at most: no decision is worse for reading them a little later
SHARE_OF_TIME: Final = 0.02  # a snapshot that takes long is taken more rarely
LONGEST_S: Final = 5.0
AGES_S: Final = 60.0
SETTLING_CALLS: Final = 20.0  # calls before a provider's share counts in full


class Boards:
    """Hands out the current Board. Asking is cheap: a clock reading, and the store's version every few milliseconds.

    A change of breakers or pins shows within REFRESH_S, an outcome within STATISTICS_S, or 50 times what taking a
    snapshot costs (the cheaper of the last two, since one may have waited for a lock), whichever is longer, but
    within LONGEST_S; an ejection or a pin that ends by time alone shows as soon. Records fade with age, so a snapshot
    is taken again every AGES_S even if nothing happened.
    """

    def __init__(self, board: Board, state: StateStore, clock: Clock) -> None:
        self._board = board
        self._state = state
        self._clock = clock
        self._version = -1
        self._due = 0.0
        self._ends = 0.0
        self._took = 0.0
        self._statistics_due = 0.0
        self.begin_anew()
        survives_fork(self)
        self.refresh()

    def begin_anew(self) -> None:
        """After a fork: the parent's lock may be held by a thread that the child does not have."""
        self._lock = threading.Lock()

    def current(self) -> Board:
        if self._clock.monotonic() >= self._due:
            self.refresh()
        return self._board

    def refresh(self, *, force: bool = False) -> None:
        """Look whether the store changed, and take a new snapshot if so; another thread's look is enough."""
        if not self._lock.acquire(blocking=force):
            return
        try:
            began = self._clock.monotonic()
            version = self._state.version()
            pause = REFRESH_S
            changed = version != self._version and (began >= self._statistics_due or self._urgent())
            if force or changed or began >= self._ends:
                self._board = self._board.renewed(self._snapshot(version))
                self._version = version
                self._statistics_due = began + STATISTICS_S
                took = self._clock.monotonic() - began
                pause = min(max(REFRESH_S, min(took, self._took) / SHARE_OF_TIME), LONGEST_S)
                self._took = took
            self._due = self._clock.monotonic() + pause
        finally:
            self._lock.release()

    def _urgent(self) -> bool:
        """Whether more than statistics changed."""
        known = self._board.snapshot
        return self._state.breakers() != known.breakers or self._state.pins(self._clock.now()) != known.pins

    def _snapshot(self, version: int) -> Snapshot:
        now = self._clock.now()
        performance = self._state.performance(now)
        breakers = self._state.breakers()
        pins = self._state.pins(now)
        ends = [breaker.until for breaker in breakers.values()] + [pin.expires_at for pin in pins]
        left = [(end - now).total_seconds() for end in ends if end is not None and end > now]
        self._ends = self._clock.monotonic() + min([AGES_S, *left])
        return Snapshot(
            version=version,
            taken_at=now,
            performance=performance,
            breakers=breakers,
            pins=pins,
            provider_share=shares(performance, self._board),
        )


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
