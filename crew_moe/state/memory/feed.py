"""The live feed of one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from crew_moe.domain.feed import Cursor, Delivery, FeedEvent, cursor_of, gap
from crew_moe.errors import InvalidRequest, StateError
from crew_moe.state.feed import CAPACITY, Ring, Subscription
from crew_moe.state.forking import survives_fork


class MemoryFeed:
    """Implements ports.Feed for the readers of this process; the newest `capacity` events can be come back to."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._closed = False
        self.dropped = 0
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: the parent's readers are none of the child's."""
        self._lock = threading.Lock()
        self._ring = Ring(Cursor(int(time.time() * 1000), 0), capacity=self._capacity)

    def publish(self, events: Sequence[FeedEvent]) -> None:
        with self._lock:
            ring, cursor, deliveries = self._ring, self._ring.head, []
            for event in events:
                cursor = cursor.next
                deliveries.append(Delivery(cursor, *event))
            ring.append(deliveries)

    async def subscribe(self, cursor: str | None = None) -> Subscription:
        ring = self._ring
        if self._closed:
            raise StateError("the feed is closed")
        if cursor is None:
            with self._lock:
                return Subscription(ring, seen=ring.head, place=ring.end)
        seen = cursor_of(cursor)
        if seen.epoch != ring.head.epoch:  # of a process that is no more
            lost = gap(ring.floor, lost=None, at=datetime.now(UTC).isoformat())
            return Subscription(ring, seen=ring.floor, place=ring.place_after(ring.floor), backlog=(lost,))
        if seen > ring.head:
            raise InvalidRequest("lies ahead of the feed", where="cursor", allowed=("the cursor of an event",))
        return Subscription(ring, seen=seen, place=ring.place_after(seen))

    @property
    def readers(self) -> int:
        return self._ring.readers

    def close(self) -> None:
        self._closed = True
        self._ring.close()
