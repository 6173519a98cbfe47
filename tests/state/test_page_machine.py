"""Three stores of pages, one life: whatever happens, memory, SQLite and Redis answer the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crew_moe.domain.page import Page
from crew_moe.ports import PageStore
from crew_moe.state import open_pages
from tests.redis_server import RedisServer
from tests.state.given import NOW, STEADY

T = TypeVar("T")

names = st.sampled_from(["a", "a:1"])
prefixes = names | st.just("")
contents = st.binary(max_size=4)
lives = st.sampled_from([None, 10.0, 60.0])
pauses = st.sampled_from([-20.0, 5.0, 15.0, 70.0])


class Triplets(RuleBasedStateMachine):
    """Each rule is done to all stores; time goes on, and now and then a little back."""

    redis: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.redis.ask("FLUSHALL")
        self.folder = tempfile.TemporaryDirectory()
        urls = (":memory:", f"sqlite:///{self.folder.name}/state.db", self.redis.url)
        self.stores = [open_pages(url) for url in urls]
        self.seen: list[Page | None] = [None] * len(self.stores)
        self.versions = self._each(lambda store: store.version())
        self.now = NOW

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    @rule(pause=pauses)
    def wait(self, pause: float) -> None:
        self.now += timedelta(seconds=pause)

    @rule(name=names)
    def look(self, name: str) -> None:
        """Remember a page, to write over it when it may be another."""
        self.seen = self._each(lambda store: store.read(name, self.now))
        self._same([page and page[:2] for page in self.seen])

    @rule(name=names, content=contents, keep_s=lives, over=st.sampled_from(["current", "seen", "none"]))
    def write(self, name: str, content: bytes, keep_s: float | None, over: str) -> None:
        nothing: list[Page | None] = [None] * len(self.stores)
        current = self._each(lambda store: store.read(name, self.now))
        read = {"current": current, "seen": self.seen, "none": nothing}[over]
        done = [
            store.write(name, content, self.now, over=0 if page is None else page.version, keep_s=keep_s)
            for store, page in zip(self.stores, read, strict=True)
        ]
        self._moved(self._same(done))

    @rule(prefix=prefixes)
    def erase(self, prefix: str) -> None:
        self._moved(self._same(self._each(lambda store: store.erase(prefix))) > 0)

    @invariant()
    def same_pages(self) -> None:
        self._same(self._each(lambda store: [page[:2] for page in store.pages("", self.now)]))

    def _each(self, ask: Callable[[PageStore], T]) -> list[T]:
        return [ask(store) for store in self.stores]

    def _same(self, answers: list[T]) -> T:
        assert answers.count(answers[0]) == len(answers), answers
        return answers[0]

    def _moved(self, moved: bool) -> None:
        """Every store's version has moved, or none has."""
        before, self.versions = self.versions, self._each(lambda store: store.version())
        assert [new != old for new, old in zip(self.versions, before, strict=True)] == [moved] * len(self.stores)


TestTriplets = Triplets.TestCase
TestTriplets.settings = settings(STEADY, max_examples=60, stateful_step_count=12)


@pytest.fixture(autouse=True)
def _server(redis_server: RedisServer) -> None:
    Triplets.redis = redis_server
