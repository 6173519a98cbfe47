"""What every feed has in this process: a ring of the newest events, and readers that each know their place in it.

A reader keeps no queue of its own. One that falls behind by more than the ring holds is ended as slow, so that neither
memory nor anybody else depends on how fast it is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final, Self

from crew_moe.domain.feed import Cursor, Delivery, Ended, FeedKind, gap

CAPACITY: Final = 10_000
AT_ONCE: Final = 256


class Ring:
    """The newest deliveries, in order; safe for threads. Places count from the first one ever put in."""

    def __init__(self, head: Cursor, *, capacity: int = CAPACITY) -> None:
        """`head` is the place before the first delivery."""
        self._capacity = capacity
        self._slots: list[Delivery | None] = [None] * capacity
        self._lock = threading.Lock()
        self._readers: set[Subscription] = set()
        self.floor = head
        self.head = head
        self.end = 0

    def append(self, deliveries: Sequence[Delivery]) -> None:
        """Put them in, and wake whoever waits."""
        if not deliveries:
            return
        with self._lock:
            for delivery in deliveries:
                slot = self.end % self._capacity
                old = self._slots[slot]
                if old is not None:
                    self.floor = old.cursor
                self._slots[slot] = delivery
                self.end += 1
            self.head = deliveries[-1].cursor
            readers = list(self._readers)
        for reader in readers:
            reader.wake()

    def after(self, place: int, count: int = AT_ONCE) -> list[Delivery] | None:
        """Up to `count` deliveries from a place on; None where the first of them is gone."""
        with self._lock:
            if place < self.end - self._capacity:
                return None
            found = (self._slots[at % self._capacity] for at in range(place, min(self.end, place + count)))
            return [delivery for delivery in found if delivery is not None]

    def place_after(self, cursor: Cursor) -> int:
        """Where a reader goes on that has seen `cursor`: at the first later delivery that is still here."""
        with self._lock:
            first = max(0, self.end - self._capacity)
            low, high = first, self.end
            while low < high:
                middle = (low + high) // 2
                delivery = self._slots[middle % self._capacity]
                if delivery is not None and delivery.cursor <= cursor:
                    low = middle + 1
                else:
                    high = middle
            return low

    def join(self, reader: Subscription) -> None:
        with self._lock:
            self._readers.add(reader)

    def leave(self, reader: Subscription) -> None:
        with self._lock:
            self._readers.discard(reader)

    @property
    def readers(self) -> int:
        return len(self._readers)

    def close(self) -> None:
        """End every subscription."""
        with self._lock:
            readers = list(self._readers)
        for reader in readers:
            reader.end(Ended.CLOSED)


class Subscription(AsyncIterator[Delivery]):
    """The events after a place, as they come, on the event loop that made it; a hole in them is a `gap`.

    `backlog` comes before what the ring holds from `place` on. Iteration stops when the reader closes it, or when
    `ended` says why it was ended.
    """

    def __init__(self, ring: Ring, *, seen: Cursor, place: int, backlog: Sequence[Delivery] = ()) -> None:
        self._ring = ring
        self._seen = seen
        self._place = place
        self._ready = list(reversed(backlog))
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()
        self._closed = False
        self.ended: Ended | None = None
        ring.join(self)

    @property
    def cursor(self) -> Cursor:
        """The place up to which everything was handed out."""
        return self._seen

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        while not self._closed:
            delivery = self._take()
            if delivery is not None:
                return delivery
            if not self._closed:
                self._more.clear()
                if self._ring.end == self._place:
                    await self._more.wait()
        raise StopAsyncIteration

    def wake(self) -> None:
        """There is more to read; may be called by any thread."""
        try:
            self._loop.call_soon_threadsafe(self._more.set)
        except RuntimeError:  # the reader's loop has ended without a word
            self._ring.leave(self)

    def end(self, why: Ended) -> None:
        """Hand out no more; may be called by any thread."""
        self.ended = self.ended or why
        self.close()

    def close(self) -> None:
        """Idempotent."""
        self._closed = True
        self._ring.leave(self)
        self.wake()

    def _take(self) -> Delivery | None:
        """The next delivery at hand, or the gap before it."""
        if not self._ready:
            found = self._ring.after(self._place)
            if found is None:
                self.end(Ended.SLOW)
                return None
            self._place += len(found)
            self._ready = found[::-1]
        while self._ready:
            delivery = self._ready[-1]
            if delivery.kind == FeedKind.GAP:
                return self._ready.pop()
            if delivery.cursor <= self._seen:
                self._ready.pop()
                continue
            before = Cursor(delivery.cursor.epoch, delivery.cursor.number - 1)
            missing = _missing(self._seen, before)
            self._seen = before if missing is not None else delivery.cursor
            return missing or self._ready.pop()
        return None


def _missing(seen: Cursor, before: Cursor) -> Delivery | None:
    """The gap between the place that was seen and the one before the next event; None where there is none."""
    if seen == before:
        return None
    lost = before.number - seen.number if seen.epoch == before.epoch else None
    return gap(before, lost=lost, at=datetime.now(UTC).isoformat())
