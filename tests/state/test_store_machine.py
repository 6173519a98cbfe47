"""Three stores, one life: whatever happens, memory, SQLite and Redis answer the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crew_moe.domain.policy import BreakerPolicy
from crew_moe.domain.snapshot import Pin
from crew_moe.ports import StateStore
from crew_moe.state.memory.store import MemoryStore
from crew_moe.state.redis.store import RedisStore
from crew_moe.state.sqlite.store import SQLiteStore
from tests.redis_server import RedisServer
from tests.state.given import NOW, SAMPLE, STEADY, service_named

POLICY = BreakerPolicy(failures=2, ejection_ms=60_000, max_ejection_ms=240_000, backoff=2.0, probes=2)
keys = st.sampled_from(["expert:a", "expert:b", "provider:p"])
words = st.none() | st.sampled_from(["x", "y"])
experts = st.sampled_from(["a", "b"])
units = st.none() | st.floats(0.0, 1.0)


class Triplets(RuleBasedStateMachine):
    """Each rule is done to all stores; time goes on, and now and then a little back."""

    redis: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.redis.ask("FLUSHALL")
        self.folder = tempfile.TemporaryDirectory()
        self.stores: dict[str, StateStore] = {}
        for name, opens in self._openers().items():
            self.stores[name] = opens()
        self.versions = self._versions()
        self.now: datetime = NOW

    def teardown(self) -> None:
        for store in self.stores.values():
            store.close()
        self.folder.cleanup()

    @rule(pause=st.timedeltas(timedelta(seconds=-1), timedelta(seconds=90)) | st.just(timedelta(days=31)))
    def wait(self, pause: timedelta) -> None:
        self.now += pause

    @rule(expert=experts, success=st.none() | st.booleans(), cost=units, reward=units, once=words)
    def record(
        self, expert: str, success: bool | None, cost: float | None, reward: float | None, once: str | None
    ) -> None:
        sample = replace(SAMPLE, expert_id=expert, success=success, cost_usd=cost, reward=reward)
        self._all(lambda store: store.record(sample, self.now, once=once))

    @rule(key=keys)
    def admit(self, key: str) -> None:
        self._all(lambda store: store.admit(key, self.now))

    @rule(key=keys)
    def succeed(self, key: str) -> None:
        self._all(lambda store: store.succeed(key, self.now))

    @rule(key=keys, eject_ms=st.none() | st.floats(0.0, 1e6))
    def fail(self, key: str, eject_ms: float | None) -> None:
        self._all(lambda store: store.fail(key, self.now, eject_ms=eject_ms))

    @rule(key=keys)
    def cancel(self, key: str) -> None:
        self._all(lambda store: store.cancel(key, self.now))

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
        self._all(lambda store: store.pin(pin))

    @rule(expert_id=st.none() | experts, task_type=words, task=words, tenant=words)
    def unpin(self, expert_id: str | None, task_type: str | None, task: str | None, tenant: str | None) -> None:
        fields = {"expert_id": expert_id, "task_type": task_type, "task": task, "tenant": tenant}
        self._all(lambda store: store.unpin(**fields))

    @rule(name=experts, tenant=words)
    def register(self, name: str, tenant: str | None) -> None:
        self._all(lambda store: store.register(service_named(name, tenant=tenant)))

    @rule(name=experts)
    def unregister(self, name: str) -> None:
        self._all(lambda store: store.unregister(name))

    @rule(name=experts, weight=st.floats(1e-6, 1e6))
    def reweigh(self, name: str, weight: float) -> None:
        self._all(lambda store: store.reweigh({name: weight}))

    @rule(name=st.sampled_from(["sqlite", "redis"]))
    def reopen(self, name: str) -> None:
        self.stores[name].close()
        self.stores[name] = self._openers()[name]()

    @invariant()
    def all_know_the_same(self) -> None:
        self._all(
            lambda store: (
                dict(store.performance(self.now)),
                dict(store.breakers()),
                store.pins(self.now),
                store.services(),
            )
        )

    @invariant()
    def versions_move_together(self) -> None:
        before, self.versions = self.versions, self._versions()
        assert len({before[name] == version for name, version in self.versions.items()}) == 1

    def _all(self, ask: Callable[[StateStore], object]) -> None:
        """Ask all stores the same; they answer the same."""
        first, *others = [ask(store) for store in self.stores.values()]
        assert others == [first] * len(others)

    def _openers(self) -> dict[str, Callable[[], StateStore]]:
        return {
            "memory": lambda: MemoryStore(POLICY),
            "sqlite": lambda: SQLiteStore(Path(self.folder.name) / "state.db", POLICY),
            "redis": lambda: RedisStore(self.redis.url, POLICY),
        }

    def _versions(self) -> dict[str, int]:
        return {name: store.version() for name, store in self.stores.items()}


TestTriplets = Triplets.TestCase
TestTriplets.settings = settings(STEADY, max_examples=40, stateful_step_count=25)


@pytest.fixture(autouse=True)
def _server(redis_server: RedisServer) -> None:
    Triplets.redis = redis_server
