"""Two stores, one life: whatever happens, memory and SQLite answer the same."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crew_moe.domain.policy import BreakerPolicy
from crew_moe.domain.snapshot import Breaker, Performance, Pin
from crew_moe.state.memory.store import MemoryStore
from crew_moe.state.sqlite.store import SQLiteStore
from tests.state.given import NOW, SAMPLE, STEADY

POLICY = BreakerPolicy(failures=2, ejection_ms=60_000, max_ejection_ms=240_000, backoff=2.0, probes=2)
keys = st.sampled_from(["expert:a", "expert:b", "provider:p"])
words = st.none() | st.sampled_from(["x", "y"])
experts = st.sampled_from(["a", "b"])
units = st.none() | st.floats(0.0, 1.0)


class Twins(RuleBasedStateMachine):
    """Each rule is done to both stores; time goes on, and now and then a little back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.memory = MemoryStore(POLICY)
        self.sqlite = SQLiteStore(Path(self.folder.name) / "state.db", POLICY)
        self.now: datetime = NOW

    def teardown(self) -> None:
        self.sqlite.close()
        self.folder.cleanup()

    @rule(pause=st.timedeltas(timedelta(seconds=-1), timedelta(seconds=90)) | st.just(timedelta(days=31)))
    def wait(self, pause: timedelta) -> None:
        self.now += pause

    @rule(expert=experts, success=st.none() | st.booleans(), cost=units, reward=units, once=words)
    def record(
        self, expert: str, success: bool | None, cost: float | None, reward: float | None, once: str | None
    ) -> None:
        sample = replace(SAMPLE, expert_id=expert, success=success, cost_usd=cost, reward=reward)
        answers = {store.record(sample, self.now, once=once) for store in (self.memory, self.sqlite)}
        assert len(answers) == 1

    @rule(key=keys)
    def admit(self, key: str) -> None:
        assert self.memory.admit(key, self.now) == self.sqlite.admit(key, self.now)

    @rule(key=keys)
    def succeed(self, key: str) -> None:
        assert self.memory.succeed(key, self.now) == self.sqlite.succeed(key, self.now)

    @rule(key=keys, eject_ms=st.none() | st.floats(0.0, 1e6))
    def fail(self, key: str, eject_ms: float | None) -> None:
        one = self.memory.fail(key, self.now, eject_ms=eject_ms)
        assert one == self.sqlite.fail(key, self.now, eject_ms=eject_ms)

    @rule(key=keys)
    def cancel(self, key: str) -> None:
        assert self.memory.cancel(key, self.now) == self.sqlite.cancel(key, self.now)

    @rule(expert=experts, task_type=words, task=words, tenant=words, hours=st.none() | st.integers(1, 900))
    def pin(self, expert: str, task_type: str | None, task: str | None, tenant: str | None, hours: int | None) -> None:
        expires_at = None if hours is None else self.now + timedelta(hours=hours)
        pin = Pin(
            expert_id=expert,
            task_type=task_type,
            task=task,
            tenant=tenant,
            created_at=self.now,
            expires_at=expires_at,
        )
        for store in (self.memory, self.sqlite):
            store.pin(pin)

    @rule(expert_id=st.none() | experts, task_type=words, task=words, tenant=words)
    def unpin(self, expert_id: str | None, task_type: str | None, task: str | None, tenant: str | None) -> None:
        fields = {"expert_id": expert_id, "task_type": task_type, "task": task, "tenant": tenant}
        assert self.memory.unpin(**fields) == self.sqlite.unpin(**fields)

    @rule()
    def reopen(self) -> None:
        path = Path(self.folder.name) / "state.db"
        self.sqlite.close()
        self.sqlite = SQLiteStore(path, POLICY)

    @invariant()
    def both_answer_the_same(self) -> None:
        assert _everything(self.memory, self.now) == _everything(self.sqlite, self.now)


def _everything(
    store: MemoryStore | SQLiteStore, now: datetime
) -> tuple[int, dict[tuple[str, str], Performance], dict[str, Breaker], tuple[Pin, ...]]:
    return store.version(), dict(store.performance(now)), dict(store.breakers()), store.pins(now)


TestTwins = Twins.TestCase
TestTwins.settings = settings(STEADY, max_examples=40, stateful_step_count=25)
