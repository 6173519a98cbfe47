"""What the store in memory alone promises: bounded growth, and use after a fork."""

from __future__ import annotations

import pytest

from crew_moe.state.memory import store as memory
from crew_moe.state.memory.store import MemoryStore
from tests.state.given import NOW, POLICY, SAMPLE


def test_only_the_newest_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_SEEN", 3)
    store = MemoryStore(POLICY)
    for key in "abcd":
        store.record(SAMPLE, NOW, once=key)

    assert [store.record(SAMPLE, NOW, once=key) for key in "dcba"] == [False, False, False, True]


def test_lock_that_the_parent_held_does_not_stop_a_forked_child() -> None:
    store = MemoryStore(POLICY)
    store.record(SAMPLE, NOW)

    with store._lock:
        store.begin_anew()
        assert store.record(SAMPLE, NOW)

    assert store.performance(NOW)["gpt-4o", "testing"].samples == 2.0
