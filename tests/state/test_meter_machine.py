"""Three stores and an exact model, one life: whatever happens, they answer the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from crew_moe.domain.meter import CLOSED, Busy, Demand, MeterStatus, Passage, Rate, Told
from crew_moe.ports import Meters
from crew_moe.state import open_meters
from tests.redis_server import RedisServer
from tests.state.exact_meter import ExactMeter
from tests.state.given import NOW, STEADY

T = TypeVar("T")
KEYS = ("expert:a", "expert:b")
PERIODS = {"requests": 60.0, "tokens": 10.0}
LEASES_S = (5.0, 30.0, 300.0)

Call = tuple[tuple[str, ...], tuple[Demand, ...], datetime]  # a passage's id in each store, what it took, its end

amounts = st.sampled_from([0.0, 1.0, 2.0, 3.0, 7.0, 12.0, 25.0])
capacities = st.sampled_from([3.0, 7.0, 10.0])
names = st.sampled_from(sorted(PERIODS))
spans = st.timedeltas(timedelta(), timedelta(seconds=90))
jumps = st.timedeltas(timedelta(minutes=-20), timedelta(minutes=20)) | st.just(timedelta(hours=30))
rates = st.builds(
    lambda name, capacity, amount: Rate(name=name, capacity=capacity, per_s=PERIODS[name], amount=amount),
    names,
    capacities,
    amounts,
)
demands = st.lists(
    st.builds(
        lambda key, rates, places: Demand(key=key, rates=tuple(rates), concurrent=places),
        st.sampled_from(KEYS),
        st.lists(rates, max_size=2, unique_by=lambda rate: rate.name),
        st.none() | st.integers(1, 3),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda demand: demand.key,
)


class Quartet(RuleBasedStateMachine):
    """Each rule is done to all stores and to the model; now and then a clock is wrong."""

    redis: RedisServer
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.redis.ask("FLUSHALL")
        self.folder = tempfile.TemporaryDirectory()
        self.urls = (":memory:", f"sqlite:///{self.folder.name}/state.db", self.redis.url)
        self.stores = [open_meters(url) for url in self.urls]
        self.now = NOW
        self.model: dict[str, ExactMeter] = {}

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    @rule(pause=spans)
    def wait(self, pause: timedelta) -> None:
        self.now += pause

    @rule(pause=jumps)
    def jump(self, pause: timedelta) -> None:
        self.now += pause

    @rule(target=calls, wanted=demands, lease_s=st.sampled_from(LEASES_S))
    def take(self, wanted: list[Demand], lease_s: float) -> object:
        answers = [store.take(wanted, self.now, lease_s=lease_s) for store in self.stores]
        met = {demand.key: self._seen(demand.key) for demand in wanted}
        expected = _refusal(wanted, met)
        if expected is not None:
            assert answers == [expected] * len(answers)
            return multiple()
        ids = tuple(answer.id for answer in answers if isinstance(answer, Passage))
        assert len(ids) == len(answers), answers
        for demand in wanted:
            met[demand.key].take(demand, ids[0], timedelta(seconds=lease_s))
        self.model |= met
        return (ids, tuple(wanted), self.now + timedelta(seconds=lease_s))

    @rule(call=consumes(calls), used=st.dictionaries(names, amounts))
    def give_back(self, call: Call, used: Mapping[str, float]) -> None:
        ids, wanted, ends = call
        for store, passage_id in zip(self.stores, ids, strict=True):
            store.give_back(passage_id, self.now, used=used)
        if ends > self.now:
            for demand in wanted:
                self._change(demand.key).give_back(demand, ids[0], used)

    @rule(
        key=st.sampled_from(KEYS), name=names, left=st.none() | amounts, capacity=st.none() | capacities, resets=spans
    )
    def tell(self, key: str, name: str, left: float | None, capacity: float | None, resets: timedelta) -> None:
        told = Told(rate=name, remaining=left, capacity=capacity, resets_at=self.now + resets, per_s=PERIODS[name])
        self._all(lambda store: store.tell(key, [told], self.now))
        self._change(key).tell(told)

    @rule(key=st.sampled_from(KEYS), span=jumps)
    def close_until(self, key: str, span: timedelta) -> None:
        self._all(lambda store: store.close_until(key, self.now + span, self.now))
        self._change(key).close(CLOSED, self.now + span)

    @rule()
    def reopen(self) -> None:
        for number in (1, 2):
            self.stores[number].close()
            self.stores[number] = open_meters(self.urls[number])

    @invariant()
    def all_stand_alike(self) -> None:
        for key in KEYS:
            status, model = self._status(key), self._seen(key)
            assert status.levels == pytest.approx(model.levels(), abs=1e-9)
            assert (status.in_use, status.until) == (model.in_use(), model.busy_until())
        ends = {key: self._seen(key).busy_until() for key in KEYS}
        assert self._all(lambda store: store.busy(self.now, kind="expert")) == {k: v for k, v in ends.items() if v}

    def _status(self, key: str) -> MeterStatus:
        return self._all(lambda store: store.status(key, self.now))

    def _seen(self, key: str) -> ExactMeter:
        return self.model[key].seen(self.now) if key in self.model else ExactMeter(self.now)

    def _change(self, key: str) -> ExactMeter:
        self.model[key] = self._seen(key)
        return self.model[key]

    def _all(self, ask: Callable[[Meters], T]) -> T:
        """Ask all stores the same; they answer the same."""
        first, *others = [ask(store) for store in self.stores]
        assert others == [first] * len(others)
        return first


def _refusal(wanted: list[Demand], met: Mapping[str, ExactMeter]) -> Busy | None:
    for demand in wanted:
        found = met[demand.key].hindrance(demand)
        if found is not None:
            return Busy(key=demand.key, rate=found[0], until=found[1])
    return None


TestQuartet = Quartet.TestCase
TestQuartet.settings = settings(STEADY, max_examples=60, stateful_step_count=30, report_multiple_bugs=False)


@pytest.fixture(autouse=True)
def _server(redis_server: RedisServer) -> None:
    Quartet.redis = redis_server
