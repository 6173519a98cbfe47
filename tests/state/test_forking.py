"""Forking waits for the locks of libraries, and a child begins anew."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

import pytest

from crew_moe.state import forking


class Resource:
    """Counts its beginnings."""

    def __init__(self) -> None:
        self.beginnings = 0

    def begin_anew(self) -> None:
        self.beginnings += 1


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_LIVE", WeakKeyDictionary())


def test_fork_happens_while_nobody_else_has_the_lock() -> None:
    resource, lock = Resource(), threading.Lock()
    forking.survives_fork(resource, held=lock)

    forking._before()
    assert lock.locked()
    forking._in_parent()

    assert not lock.locked()
    assert resource.beginnings == 0


def test_child_begins_anew_with_what_is_still_alive() -> None:
    kept, gone = Resource(), Resource()
    forking.survives_fork(kept)
    forking.survives_fork(gone)
    del gone

    forking._before()
    forking._in_child()

    assert kept.beginnings == 1
    assert len(forking._LIVE) == 1
