"""What a forked child must do before it touches what its parent had open: begin anew.

A child inherits locks that no thread of its own will release, and database connections that it may not use.
"""

from __future__ import annotations

import os
import threading
from typing import Final, Protocol
from weakref import WeakKeyDictionary


class Lock(Protocol):
    """What threading.Lock and threading.RLock have in common."""

    def acquire(self) -> bool: ...

    def release(self) -> None: ...


class Forkable(Protocol):
    """Holds locks, threads or connections."""

    def begin_anew(self) -> None:
        """Replace, in a forked child, what belongs to the parent."""


_LIVE: Final[WeakKeyDictionary[Forkable, Lock | None]] = WeakKeyDictionary()
_HELD: Final = threading.local()


def survives_fork(resource: Forkable, *, held: Lock | None = None) -> None:
    """From now on a forked child calls `resource.begin_anew()` first.

    No fork happens while another thread has `held`: needed where a library underneath keeps locks of its own, which
    the child would find taken for ever. Whoever has it must not wait for the `held` of another resource.
    """
    _LIVE[resource] = held


def _before() -> None:
    _HELD.locks = [lock for lock in list(_LIVE.values()) if lock is not None]
    for lock in _HELD.locks:
        lock.acquire()


def _in_parent() -> None:
    for lock in _HELD.locks:
        lock.release()


def _in_child() -> None:
    for resource in list(_LIVE):
        resource.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows, which can't fork
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
