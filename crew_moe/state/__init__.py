"""What the router has learned and decided: stores of state and logs of decisions, opened by URL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from crew_moe.domain.policy import BreakerPolicy
from crew_moe.errors import InvalidInput, StateError
from crew_moe.ports import Approvals, Clock, DecisionLog, Feed, Ledger, Meters, PageStore, StateStore

__all__ = [
    "open_approvals",
    "open_feed",
    "open_ledger",
    "open_log",
    "open_meters",
    "open_pages",
    "open_state",
    "read_log",
]

MEMORY: Final = ":memory:"
_SQLITE: Final = "sqlite:///"
_REDIS: Final = ("redis://", "rediss://")
_FORMS: Final = (MEMORY, "sqlite:///relative/path.db", "sqlite:////absolute/path.db", "redis://host:6379/0")


def open_state(url: str, policy: BreakerPolicy) -> StateStore:
    """The store behind `url`: ":memory:", "sqlite:///relative/path.db", "sqlite:////absolute/path.db" or
    "redis://host:6379/0" (with TLS "rediss://...").

    Parent folders are made. Raises InvalidInput for another form, MissingExtra for Redis without its library,
    StateError when the file or the server can't be used.
    """
    if url.startswith(_REDIS):
        from crew_moe.state.redis.store import RedisStore

        return RedisStore(url, policy)
    path = _sqlite_path(url)
    if path is None:
        from crew_moe.state.memory.store import MemoryStore

        return MemoryStore(policy)
    from crew_moe.state.sqlite.store import SQLiteStore

    return SQLiteStore(path, policy)


def open_log(url: str) -> DecisionLog:
    """The decision log behind `url`; forms and errors as in `open_state`, and one file or server may serve both."""
    if url.startswith(_REDIS):
        from crew_moe.state.redis.log import RedisLog

        return RedisLog(url)
    path = _sqlite_path(url)
    if path is None:
        from crew_moe.state.memory.log import MemoryLog

        return MemoryLog()
    from crew_moe.state.sqlite.log import SQLiteLog

    return SQLiteLog(path)


def read_log(url: str) -> Iterator[Mapping[str, Any]]:
    """Every stored row of the decision log behind `url`, oldest first, read in pages: a log may be larger than memory.

    Raises InvalidInput where there is no such file, and for memory, which holds no log but the one of its own process;
    else as `open_state`.
    """
    from crew_moe.state.decision_log import CLOSING

    if not url.startswith(_REDIS):
        path = Path(url.removeprefix(_SQLITE))
        if url == MEMORY or (url.startswith(_SQLITE) and not path.is_file()):
            allowed = ("sqlite:///path.db of a router's state", "redis://host:6379/0")
            raise InvalidInput("there is no decision log", where=url if url == MEMORY else str(path), allowed=allowed)
    log: Any = open_log(url)  # every one of them has a chain
    try:
        for envelope in log.chain():
            if envelope.decision_id != CLOSING:
                yield json.loads(envelope.row)
    finally:
        log.close()


def open_ledger(url: str, *, clock: Clock | None = None) -> Ledger:
    """The budgets behind `url`; forms and errors as in `open_state`, and one file or server may serve all three.

    `clock` stands in for the machine's clock or the server's.

    >>> ledger = open_ledger(":memory:")
    >>> ledger.set_limit("tenant:a", usd="50", window="month").available_usd
    Decimal('50')
    >>> reservation = ledger.reserve(("tenant:a", "run:1"), usd="0.004", lease_s=60)
    >>> reservation.ok, ledger.settle(reservation.id, usd="0.0031").charged_usd
    (True, Decimal('0.0031'))
    """
    if url.startswith(_REDIS):
        from crew_moe.state.redis.ledger import RedisLedger

        return RedisLedger(url, clock=clock)
    path = _sqlite_path(url)
    if path is None:
        from crew_moe.state.memory.ledger import MemoryLedger

        return MemoryLedger(clock=clock)
    from crew_moe.state.sqlite.ledger import SQLiteLedger

    return SQLiteLedger(path, clock=clock)


def open_meters(url: str) -> Meters:
    """Rate limits, cooldowns and places behind `url`; forms and errors as in `open_state`, and the same file or server
    may serve them.
    """
    if url.startswith(_REDIS):
        from crew_moe.state.redis.meters import RedisMeters

        return RedisMeters(url)
    path = _sqlite_path(url)
    if path is None:
        from crew_moe.state.memory.meters import MemoryMeters

        return MemoryMeters()
    from crew_moe.state.sqlite.meters import SQLiteMeters

    return SQLiteMeters(path)


def open_approvals(url: str) -> Approvals:
    """The questions to people behind `url`; forms and errors as in `open_state`, one file or server may serve all."""
    if url.startswith(_REDIS):
        from crew_moe.state.redis.approvals import RedisApprovals

        return RedisApprovals(url)
    path = _sqlite_path(url)
    if path is None:
        from crew_moe.state.memory.approvals import MemoryApprovals

        return MemoryApprovals()
    from crew_moe.state.sqlite.approvals import SQLiteApprovals

    return SQLiteApprovals(path)


def open_pages(url: str) -> PageStore:
    """The documents of learning behind `url`; forms and errors as in `open_state`, one file or server may serve all."""
    if url.startswith(_REDIS):
        from crew_moe.state.redis.pages import RedisPages

        return RedisPages(url)
    path = _sqlite_path(url)
    if path is None:
        from crew_moe.state.memory.pages import MemoryPages

        return MemoryPages()
    from crew_moe.state.sqlite.pages import SQLitePages

    return SQLitePages(path)


def open_feed(url: str) -> Feed:
    """The live feed that goes with the state behind `url`: in Redis one for all replicas, else one of this process."""
    if url.startswith(_REDIS):
        from crew_moe.state.redis.feed import RedisFeed

        return RedisFeed(url)
    from crew_moe.state.memory.feed import MemoryFeed

    return MemoryFeed()


def _sqlite_path(url: str) -> Path | None:
    """The file that `url` names, its folder made; None for memory."""
    if url == MEMORY:
        return None
    name = url.removeprefix(_SQLITE)
    if name == url or name.strip("/") in ("", MEMORY) or "\0" in name:
        # What stands after a scheme may hold a password.
        shown = url.partition("://")[0] + "://..." if "://" in url else url[:60]
        raise InvalidInput(f"'{shown}' names no state", where="state", value=url, allowed=_FORMS)
    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"the folder {path.parent} of the state can't be made: {error.strerror}") from error
    return path
