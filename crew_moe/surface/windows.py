"""Counting by windows of time: how often something happened under a key since its window opened.

A window opens with its first event and lasts a fixed time: one number per key, whatever the rate. In one process they
are kept in memory, for all replicas of a router in Redis.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from types import ModuleType
from typing import Any, Final, Protocol

from crew_moe.errors import MissingExtra
from crew_moe.ports import Clock, EventSink

MOST_KEYS: Final = 100_000  # windows that are remembered; the oldest go, so that strangers can't fill the memory
PATIENCE_S: Final = 0.25  # for one answer of Redis
PAUSE_S: Final = 1.0  # after one that did not come: until then nobody asks
CONNECTIONS: Final = 32
PREFIX: Final = "crew-moe:rates"

Count = tuple[int, float]
"""How often, this time included, and after how many seconds the window closes."""


class Windows(Protocol):
    """Counts under keys."""

    async def count(self, key: str) -> Count | None:
        """Count one more; None where nobody can tell."""

    async def aclose(self) -> None:
        """Give back what was opened; idempotent."""


class WindowsInMemory:
    """Implements Windows for one process. All windows are of one length, so they close in the order in which they
    opened: each count tidies up as much as it adds. For one event loop.
    """

    def __init__(self, window_s: int, *, clock: Clock) -> None:
        self._window_s = window_s
        self._clock = clock
        self._open: OrderedDict[str, list[float]] = OrderedDict()  # key -> [count, closes at]

    async def count(self, key: str) -> Count:
        now = self._clock.monotonic()
        while self._open and next(iter(self._open.values()))[1] <= now:
            self._open.popitem(last=False)
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = [0, now + self._window_s]
            if len(self._open) > MOST_KEYS:
                self._open.popitem(last=False)
        found[0] += 1
        return int(found[0]), found[1] - now

    async def aclose(self) -> None:
        """Nothing was opened."""


class WindowsInRedis:
    """Implements Windows for all who name the same database. Raises MissingExtra without `limits` and `redis`.

    It never waits long. While Redis does not answer, nobody is counted: that is told once, and told again, with how
    many went uncounted, when Redis is back.
    """

    def __init__(self, url: str, window_s: int, *, name: str, clock: Clock, sink: EventSink) -> None:
        self._url = url
        self._window_s = window_s
        self._name = name
        self._clock = clock
        self._sink = sink
        self._errors = _redis().exceptions.RedisError
        self._storage_class = _storage_class()
        self._pool: Any = None
        self._storage: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: OrderedDict[str, float] = OrderedDict()  # key -> when its window closes, so far as it was asked
        self._silent_until = 0.0
        self._lost_at: float | None = None
        self.uncounted = 0

    async def count(self, key: str) -> Count | None:
        now = self._clock.monotonic()
        if now < self._silent_until:
            self.uncounted += 1
            return None
        try:
            counted = await self._counted(key, now)
        except (self._errors, OSError, TimeoutError) as error:
            self._lose(now, error)
            return None
        self._regain(now)
        return counted

    async def aclose(self) -> None:
        if self._pool is not None and self._loop is asyncio.get_running_loop():
            await self._pool.aclose()
        self._pool = self._storage = None

    async def _counted(self, key: str, now: float) -> Count:
        storage = self._for_this_loop()
        count = int(await storage.incr(key, self._window_s))
        closes = now + self._window_s if count == 1 else self._closing.get(key, 0.0)
        if closes <= now:
            # `get_expiry` is a time of day; only how far off it is counts here.
            closes = now + await storage.get_expiry(key) - self._clock.now().timestamp()
        self._note(key, closes)
        return count, min(max(closes - now, 0.0), self._window_s)

    def _note(self, key: str, closes: float) -> None:
        self._closing[key] = closes
        if len(self._closing) > MOST_KEYS:
            self._closing.popitem(last=False)

    def _for_this_loop(self) -> Any:
        """The connections belong to the event loop that opened them."""
        loop = asyncio.get_running_loop()
        if self._storage is None or self._loop is not loop:
            self._loop, self._pool = loop, _pool(self._url)
            self._storage = self._storage_class(
                f"async+{self._url}",
                implementation="redispy",
                key_prefix=f"{PREFIX}:{self._name}",
                connection_pool=self._pool,
            )
        return self._storage

    def _lose(self, now: float, error: Exception) -> None:
        self._silent_until = now + PAUSE_S
        self.uncounted += 1
        if self._lost_at is None:
            self._lost_at = now
            self._sink.emit("rates_lost", limit=self._name, error=type(error).__name__)

    def _regain(self, now: float) -> None:
        if self._lost_at is not None:
            self._sink.emit(
                "rates_back", limit=self._name, lost_s=round(now - self._lost_at, 3), uncounted=self.uncounted
            )
            self._lost_at = None
            self.uncounted = 0


def _redis() -> ModuleType:
    try:
        import redis.asyncio
    except ImportError as missing:
        raise MissingExtra("redis", "redis") from missing
    return redis


def _pool(url: str) -> Any:
    """Connections for one event loop: a few that take turns, short waits, no hidden second tries."""
    from redis.asyncio import BlockingConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=PATIENCE_S,
        socket_connect_timeout=PATIENCE_S,
        socket_timeout=PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _storage_class() -> Any:
    try:
        from limits.aio.storage import RedisStorage
    except ImportError as missing:
        raise MissingExtra("service", "limits") from missing
    return RedisStorage
