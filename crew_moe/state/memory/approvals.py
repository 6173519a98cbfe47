"""The approvals of one process: a dictionary under one lock."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from crew_moe.domain.approval import Approval
from crew_moe.state import approval as approvals
from crew_moe.state.forking import survives_fork


class MemoryApprovals(approvals.Answering):
    """Implements ports.Approvals for all threads of one process; forgotten when it ends."""

    def __init__(self) -> None:
        self._known: dict[str, Approval] = {}
        self._about: dict[tuple[str, str, str | None], list[str]] = {}
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: what was asked and answered stays, the parent's lock does not."""
        self._lock = threading.Lock()

    def ask(self, approval: Approval) -> Approval:
        wanted, now = approvals.asked(approval), approval.created_at
        with self._lock:
            self._forget(now)
            same = self._about.get(approvals.about(wanted), [])
            found = approvals.covering((self._known[approval_id] for approval_id in same), wanted)
            if found is not None:
                return found
            if wanted.id in self._known:
                raise approvals.taken(wanted)
            self._known[wanted.id] = wanted
            self._about[approvals.about(wanted)] = [*same, wanted.id]
        return wanted

    def pending(self, now: datetime) -> Sequence[Approval]:
        with self._lock:
            self._known |= {key: approvals.as_of(one, now) for key, one in self._known.items()}
            return approvals.by_age(self._known.values())

    def close(self) -> None:
        """Nothing to give back."""

    def _change(
        self, approval_id: str, now: datetime, change: Callable[[Approval], Approval]
    ) -> tuple[Approval | None, Approval | None]:
        with self._lock:
            before = self._known.get(approval_id)
            if before is None or approvals.forgotten(before, now):
                return None, None
            after = self._known[approval_id] = change(before)
        return before, after

    def _forget(self, now: datetime) -> None:
        """Drop the oldest as far as they are forgotten; a younger one waits for those before it."""
        oldest = itertools.takewhile(lambda item: approvals.forgotten(item[1], now), self._known.items())
        for approval_id, one in list(oldest):
            del self._known[approval_id]
            same = [other for other in self._about.pop(approvals.about(one)) if other != approval_id]
            if same:
                self._about[approvals.about(one)] = same
