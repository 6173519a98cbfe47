"""Live events for those who look on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from crew_moe.domain.feed import Cursor, Delivery, Ended, FeedEvent


class Subscription(Protocol):
    """The events of a feed, as they come. Iteration stops when it is closed, or when `ended` says why it was ended."""

    @property
    def cursor(self) -> Cursor:
        """The place up to which everything was handed out."""

    @property
    def ended(self) -> Ended | None: ...

    def __aiter__(self) -> AsyncIterator[Delivery]: ...

    def close(self) -> None: ...


class Feed(Protocol):
    """Live events for those who look on, in one order for all of them; one contract for all who implement it.

    The newest ones are kept, so that a reader can come back to its cursor; what it missed for good is told as a `gap`.
    A reader that is too slow is ended, and holds up nobody. Telemetry fails open: what could not be published is
    counted in `dropped`.
    """

    def publish(self, events: Sequence[FeedEvent]) -> None:
        """Tell all readers; never waits and never raises."""

    async def subscribe(self, cursor: str | None = None) -> Subscription:
        """Everything from now on, or after `cursor`. Raises InvalidRequest for what is no cursor of this feed, and
        StateError where the feed can't be read.
        """

    @property
    def readers(self) -> int:
        """How many subscriptions are open in this process."""

    @property
    def dropped(self) -> int: ...

    def close(self) -> None:
        """End all subscriptions of this process; idempotent."""
