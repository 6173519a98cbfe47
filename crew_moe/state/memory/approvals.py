"""Approvals of one process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.state import approval as approvals
from crew_moe.state.forking import survives_fork


class MemoryApprovals:
    """Implements ports.Approvals for all threads of one process; forgotten when it ends."""

    def __init__(self) -> None:
        self._known: dict[str, Approval] = {}
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: what was asked stays, the parent's lock does not."""
        self._lock = threading.Lock()

    def ask(self, approval: Approval) -> Approval:
        now = approval.created_at
        with self._lock:
            self._forget(now)
            found = next((one for one in self._known.values() if approvals.serves(one, approval, now)), None)
            if found is None:
                found = self._known[approval.id] = approval
            return found

    def get(self, approval_id: str, now: datetime) -> Approval | None:
        with self._lock:
            found = self._known.get(approval_id)
        return None if found is None else approvals.as_of(found, now)

    def answer(self, approval_id: str, *, approve: bool, by: str, why: str, now: datetime) -> Approval | None:
        with self._lock:
            found = self._known.get(approval_id)
            if found is None:
                return None
            after = approvals.answered(found, approve=approve, by=by, why=why, now=now)
            self._known[approval_id] = after
            return after

    def use(self, approval_id: str, *, digest: str, expert_id: str, max_cost_nano: int, now: datetime) -> bool:
        with self._lock:
            found = self._known.get(approval_id)
            after = (
                None
                if found is None
                else approvals.used(found, digest=digest, expert_id=expert_id, max_cost_nano=max_cost_nano, now=now)
            )
            if after is None:
                return False
            self._known[approval_id] = after
            return True

    def pending(self, now: datetime) -> Sequence[Approval]:
        with self._lock:
            known = [approvals.as_of(one, now) for one in self._known.values()]
        waiting = [one for one in known if one.state is ApprovalState.PENDING]
        return sorted(waiting, key=lambda one: (one.created_at, one.id))

    def close(self) -> None:
        """Nothing to give back."""

    def _forget(self, now: datetime) -> None:
        for one in list(self._known.values()):
            if one.expires_at + approvals.KEPT <= now:
                del self._known[one.id]
