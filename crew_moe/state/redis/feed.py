"""The live feed in Redis: one stream that every replica writes and reads, so that its cursors hold on all of them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from crew_moe.domain.feed import Cursor, Delivery, FeedEvent, cursor_of, gap, written
from crew_moe.errors import InvalidRequest, StateError
from crew_moe.state.feed import CAPACITY, Ring, Subscription
from crew_moe.state.forking import survives_fork
from crew_moe.state.redis.connection import PREFIX, Connection, script

TAG: Final = PREFIX + "{feed}:"
EVENTS: Final = TAG + "events"
PLACE: Final = TAG + "place"
OUTBOX: Final = 10_000
AT_ONCE: Final = 250  # events of one script, which holds up everybody else
PAGE: Final = 1000
LISTEN_MS: Final = 40  # how long one look at the stream waits; what is to be published waits with it
RETRY_S: Final = 1.0

Stored = tuple[str, Mapping[str, str]]


class RedisFeed:
    """Implements ports.Feed; about the newest `capacity` events are kept for all replicas.

    A thread writes what is published and, while there is a reader in this process, reads what all have written. While
    Redis can't be reached what does not fit into a queue is lost and counted; what it lost itself shows as a gap.
    Opening it raises InvalidInput, MissingExtra and StateError, as every store does.
    """

    def __init__(self, url: str, *, capacity: int = CAPACITY) -> None:
        self._connection = Connection(url)
        self._append = script("feed_append")
        self._capacity = capacity
        self._closed = False
        self.dropped = 0
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: the parent sends what it has queued, and its readers are none of the child's."""
        self._outbox: deque[FeedEvent] = deque()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._opening = threading.Lock()
        self._ring: Ring | None = None
        self._thread: threading.Thread | None = None

    def publish(self, events: Sequence[FeedEvent]) -> None:
        for event in events:
            if self._closed or len(self._outbox) >= OUTBOX:
                self.dropped += 1
            else:
                self._outbox.append(event)
        if self._thread is None:
            with self._opening:
                self._start()
        self._wake.set()

    async def subscribe(self, cursor: str | None = None) -> Subscription:
        asked = None if cursor is None else cursor_of(cursor)
        ring, seen, place, backlog = await asyncio.to_thread(self._open, asked)
        return Subscription(ring, seen=seen, place=place, backlog=backlog)

    @property
    def readers(self) -> int:
        return 0 if self._ring is None else self._ring.readers

    def close(self) -> None:
        """Send what is queued, end all subscriptions of this process, and give the sockets back; idempotent."""
        self._closed = True
        self._ended.set()
        self._wake.set()
        with self._opening:
            thread = self._thread
        if thread is not None:
            thread.join()
        if self._ring is not None:
            self._ring.close()
        self._connection.close()

    def _start(self) -> None:
        """Called with `_opening` held."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="crew-moe-feed", daemon=True)
            self._thread.start()

    def _open(self, seen: Cursor | None) -> tuple[Ring, Cursor, int, Sequence[Delivery]]:
        """Where a reader begins: (ring, place that it has seen, place in the ring, what comes before that)."""
        with self._opening:
            if self._ring is None:
                self._ring = Ring(self._head(), capacity=self._capacity)
            self._start()
            ring = self._ring
        self._wake.set()
        place, head = ring.end, ring.head
        if seen is None:
            return ring, head, place, ()
        return ring, *self._resumed(seen, place)

    def _resumed(self, seen: Cursor, place: int) -> tuple[Cursor, int, Sequence[Delivery]]:
        head = self._head()
        if seen.epoch == head.epoch:
            if seen > head:
                raise InvalidRequest("lies ahead of the feed", where="cursor", allowed=("the cursor of an event",))
            return seen, place, self._stored(f"({seen}")
        backlog = self._stored("-")
        first = backlog[0].cursor if backlog else head.next
        floor = Cursor(first.epoch, first.number - 1)
        return floor, place, (gap(floor, lost=None, at=datetime.now(UTC).isoformat()), *backlog)

    def _head(self) -> Cursor:
        """The place of the newest event."""
        return cursor_of(self._connection.run(self._append, (EVENTS, PLACE), (self._capacity,)))

    def _stored(self, start: str) -> list[Delivery]:
        found: list[Delivery] = []
        while True:
            page: Sequence[Stored] = self._connection.execute("XRANGE", EVENTS, start, "+", "COUNT", PAGE)
            found += map(_delivery, page)
            if len(page) < PAGE:
                return found
            start = f"({page[-1][0]}"

    def _run(self) -> None:
        while not self._closed:
            reading = self._ring
            if not self._outbox and (reading is None or not reading.readers):
                self._wake.wait()
            self._wake.clear()
            try:
                self._send()
                if reading is not None:
                    self._receive(reading)
            except StateError:
                self._ended.wait(RETRY_S)
        try:
            self._send()
        except StateError:
            self.dropped += len(self._outbox)

    def _send(self) -> None:
        """Write what is queued. What could not be written may have been: it is not sent twice."""
        while self._outbox:
            events = [self._outbox.popleft() for _ in range(min(AT_ONCE, len(self._outbox)))]
            words = [word for event in events for word in (event.kind, event.owner, written(event.body))]
            try:
                self._connection.run(self._append, (EVENTS, PLACE), (self._capacity, *words))
            except StateError:
                self.dropped += len(events)
                raise

    def _receive(self, ring: Ring) -> None:
        """Take in what has been written since, by whomever; wait a moment for it."""
        command = ("XREAD", "COUNT", PAGE, "BLOCK", LISTEN_MS, "STREAMS", EVENTS, str(ring.head))
        found: Any = self._connection.execute(*command)
        if found:
            ring.append([_delivery(entry) for _, entries in found for entry in entries])


def _delivery(entry: Stored) -> Delivery:
    name, fields = entry
    return Delivery(cursor_of(name), fields["kind"], fields["owner"], fields["body"])
