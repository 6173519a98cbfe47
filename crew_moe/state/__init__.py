"""What the router has learned and decided: stores of state and logs of decisions, opened by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from crew_moe.domain.policy import BreakerPolicy
from crew_moe.errors import InvalidInput, NotAvailable, StateError
from crew_moe.ports import DecisionLog, StateStore

__all__ = ["open_log", "open_state"]

MEMORY: Final = ":memory:"
_SQLITE: Final = "sqlite:///"
_FORMS: Final = (MEMORY, "sqlite:///relative/path.db", "sqlite:////absolute/path.db")


def open_state(url: str, policy: BreakerPolicy) -> StateStore:
    """The store behind `url`: ":memory:", "sqlite:///relative/path.db" or "sqlite:////absolute/path.db".

    Parent folders are made. Raises InvalidInput for another form, NotAvailable for Redis, StateError when the file
    can't be used.
    """
    path = _sqlite_path(url)
    if path is None:
        from crew_moe.state.memory.store import MemoryStore

        return MemoryStore(policy)
    from crew_moe.state.sqlite.store import SQLiteStore

    return SQLiteStore(path, policy)


def open_log(url: str) -> DecisionLog:
    """The decision log behind `url`; the forms and errors of `open_state`, and the same file may serve both."""
    path = _sqlite_path(url)
    if path is None:
        from crew_moe.state.memory.log import MemoryLog

        return MemoryLog()
    from crew_moe.state.sqlite.log import SQLiteLog

    return SQLiteLog(path)


def _sqlite_path(url: str) -> Path | None:
    """The file that `url` names, its folder made; None for memory."""
    if url == MEMORY:
        return None
    if url.startswith(("redis://", "rediss://")):
        raise NotAvailable("redis state", where="state")
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
