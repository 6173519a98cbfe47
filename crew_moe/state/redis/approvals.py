"""The approvals that hosts share: one Redis database.

A change is computed here, by the same pure functions as in every store, from the record that was read, and put in place
only if that record is still there; whoever comes too late computes again. People answer, so nobody comes often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.state import approval as approvals
from crew_moe.state.redis.connection import PREFIX, Connection, script

TAG: Final = PREFIX + "{approvals}:"
ONE: Final = TAG + "one:"
ABOUT: Final = TAG + "about:"
WAITING: Final = TAG + "waiting"
MILLISECOND: Final = timedelta(milliseconds=1)


class RedisApprovals(approvals.Answering):
    """Implements ports.Approvals for all who open the same database.

    Raises StateError when the server can't be reached or refuses; a change whose answer was lost may have been made.
    Keys outlive their time by the server's clock as well as by the caller's.
    """

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)

    def ask(self, approval: Approval) -> Approval:
        wanted = approvals.asked(approval)
        about = ABOUT + approvals.subject(wanted)
        long_ago = (wanted.created_at - approvals.KEPT).timestamp()
        self._connection.execute("ZREMRANGEBYSCORE", WAITING, "-inf", long_ago)
        while True:
            ids: str = self._connection.execute("GET", about) or ""
            known = self._read(ids.split())
            found = approvals.covering(known, wanted)
            if found is not None:
                return found
            before = self._record(wanted.id)
            if before and not approvals.forgotten(approvals.from_text(before), wanted.created_at):
                raise approvals.taken(wanted)
            still_open = [one.id for one in known if approvals.as_of(one, wanted.created_at).state in approvals.OPEN]
            if self._swap(before, wanted, wanted.created_at, (about, ids, " ".join([*still_open, wanted.id]))):
                return wanted

    def pending(self, now: datetime) -> Sequence[Approval]:
        found = self._read(self._connection.execute("ZRANGE", WAITING, 0, -1))
        # The time of one may be over; that is noted for good, whatever a clock says later.
        current = [one if approvals.as_of(one, now) is one else self.get(one.id, now) for one in found]
        return approvals.by_age(one for one in current if one is not None)

    def close(self) -> None:
        """Give the sockets back; idempotent."""
        self._connection.close()

    def _change(
        self, approval_id: str, now: datetime, change: Callable[[Approval], Approval]
    ) -> tuple[Approval | None, Approval | None]:
        while approvals.is_id(approval_id) and (record := self._record(approval_id)):
            before = approvals.from_text(record)
            if approvals.forgotten(before, now):
                break
            after = change(before)
            if after is before or self._swap(record, after, now):
                return before, after
        return None, None

    def _record(self, approval_id: str) -> str:
        return self._connection.execute("GET", ONE + approval_id) or ""

    def _read(self, ids: Iterable[str]) -> list[Approval]:
        names = [ONE + approval_id for approval_id in ids]
        records = self._connection.execute("MGET", *names) if names else ()
        return [approvals.from_text(record) for record in records if record]

    def _swap(self, record: str, after: Approval, now: datetime, subject: tuple[str, str, str] | None = None) -> bool:
        """Store `after` instead of `record`; a new one with (key, old and new ids) of its subject."""
        life_ms = (after.expires_at + approvals.KEPT - now) // MILLISECOND + 1
        waits_until = after.expires_at.timestamp() if after.state is ApprovalState.PENDING else ""
        keys: tuple[str, ...] = (ONE + after.id, WAITING)
        args: tuple[str | int | float, ...] = (after.id, record, approvals.to_text(after), life_ms, waits_until)
        if subject is not None:
            about, ids_before, ids_after = subject
            keys, args = (*keys, about), (*args, ids_before, ids_after)
        return bool(self._connection.run(script("approval_swap"), keys, args))
