"""Three stores of approvals, one life: they answer the same, and nothing is used that was not approved."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.ports import Approvals
from crew_moe.state import open_approvals
from tests.redis_server import RedisServer
from tests.state.given import NOW, STEADY
from tests.state.questions import approval_of

T = TypeVar("T")
IDS = tuple("abcdef")
FINAL = frozenset({ApprovalState.DENIED, ApprovalState.USED, ApprovalState.EXPIRED})

ids = st.sampled_from(IDS)
digests = st.sampled_from(["d1", "d2"])
costs = st.sampled_from([0, 99, 100, 101])
pauses = st.timedeltas(timedelta(minutes=-10), timedelta(minutes=20)) | st.just(timedelta(days=31))


class Triplets(RuleBasedStateMachine):
    """Each rule is done to all stores; time goes on, and now and then back."""

    redis: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.redis.ask("FLUSHALL")
        self.folder = tempfile.TemporaryDirectory()
        self.urls = (":memory:", f"sqlite:///{self.folder.name}/state.db", self.redis.url)
        self.stores = [open_approvals(url) for url in self.urls]
        self.now: datetime = NOW
        self.newest = NOW
        self.seen: dict[str, Approval] = {}

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    @rule(pause=pauses)
    def wait(self, pause: timedelta) -> None:
        self.now += pause

    @rule(name=ids, digest=digests, nano=costs)
    def ask(self, name: str, digest: str, nano: int) -> None:
        if self.now < self.newest or self._get(name) is not None:
            return
        self.newest = self.now
        wanted = approval_of(name, digest=digest, nano=nano, created_at=self.now)
        got = self._all(lambda store: store.ask(wanted))
        assert (got.digest, got.expert_id) == (wanted.digest, wanted.expert_id)
        assert got.max_cost_nano >= nano
        assert got.state not in FINAL
        self.seen = {**self.seen, name: wanted} if got == wanted else self.seen

    @rule(name=ids, approve=st.booleans(), by=st.sampled_from(["ann", "ben"]))
    def answer(self, name: str, approve: bool, by: str) -> None:
        self._all(lambda store: store.answer(name, approve=approve, by=by, why="", now=self.now))

    @rule(name=ids, digest=digests, nano=costs)
    def use(self, name: str, digest: str, nano: int) -> None:
        before = self._get(name)
        done = self._all(lambda store: store.use(name, digest=digest, expert_id="o1", max_cost_nano=nano, now=self.now))
        good = before is not None and before.state is ApprovalState.APPROVED and self.now < before.expires_at
        assert done == (good and before is not None and before.digest == digest and nano <= before.max_cost_nano)

    @rule()
    def reopen(self) -> None:
        for number in (1, 2):
            self.stores[number].close()
            self.stores[number] = open_approvals(self.urls[number])

    @invariant()
    def what_is_final_stays_and_what_is_pending_waits(self) -> None:
        known = [found for name in IDS if (found := self._get(name)) is not None]
        for one in known:
            before = self.seen[one.id]
            assert before.state not in FINAL or one == before
            self.seen[one.id] = one
        waiting = self._all(lambda store: store.pending(self.now))
        assert {one.id for one in waiting} == {one.id for one in known if one.state is ApprovalState.PENDING}

    def _get(self, name: str) -> Approval | None:
        return self._all(lambda store: store.get(name, self.now))

    def _all(self, ask: Callable[[Approvals], T]) -> T:
        """Ask all stores the same; they answer the same."""
        first, *others = [ask(store) for store in self.stores]
        assert others == [first] * len(others)
        return first


TestTriplets = Triplets.TestCase
TestTriplets.settings = settings(STEADY, max_examples=40, stateful_step_count=25, report_multiple_bugs=False)


@pytest.fixture(autouse=True)
def _server(redis_server: RedisServer) -> None:
    Triplets.redis = redis_server
