"""What every StateStore does, in memory, on disk or on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from crew_moe.domain.snapshot import Breaker, Circuit
from crew_moe.ports import StateStore
from crew_moe.state import open_state
from crew_moe.state.performance import EXPIRY, HALF_LIFE, fold
from tests.state.given import NOW, POLICY, SAMPLE, later, pin_to, service_named

KEY = "expert:gpt-4o"
THREADS = 8


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    return here.get(request.param) or str(request.getfixturevalue("redis_url"))


@pytest.fixture
def store(url: str) -> Iterator[StateStore]:
    opened = open_state(url, POLICY)
    yield opened
    opened.close()


def _fail(store: StateStore, times: int) -> Breaker:
    return [store.fail(KEY, NOW) for _ in range(times)][-1]


def _at_once(work: Callable[[int], object], times: int) -> list[object]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(times)))


def test_new_store_knows_nothing(store: StateStore) -> None:
    assert (store.performance(NOW), store.breakers(), store.pins(NOW), store.services()) == ({}, {}, (), ())


def test_record_folds_by_expert_and_task_type(store: StateStore) -> None:
    other = replace(SAMPLE, task_type="planning", latency_ms=None)
    for sample in (SAMPLE, SAMPLE, other):
        assert store.record(sample, NOW)

    assert store.performance(NOW) == {
        ("gpt-4o", "testing"): fold(fold(None, SAMPLE, NOW), SAMPLE, NOW),
        ("gpt-4o", "planning"): fold(None, other, NOW),
    }


def test_record_counts_a_key_once(store: StateStore) -> None:
    answers = [store.record(SAMPLE, NOW, once=key) for key in ("d1/1", "d1/1", "d1/2")]

    assert answers == [True, False, True]
    assert store.performance(NOW)["gpt-4o", "testing"].samples == 2.0


def test_key_counts_again_after_thirty_days(store: StateStore) -> None:
    store.record(SAMPLE, NOW, once="d1/1")

    assert not store.record(SAMPLE, NOW + EXPIRY - timedelta(microseconds=1), once="d1/1")
    assert store.record(SAMPLE, NOW + EXPIRY, once="d1/1")
    assert not store.record(SAMPLE, NOW + EXPIRY, once="d1/1")


def test_reading_fades_samples_and_leaves_expired_records_out(store: StateStore) -> None:
    store.record(SAMPLE, NOW)

    assert store.performance(NOW + HALF_LIFE)["gpt-4o", "testing"].samples == pytest.approx(0.5)
    assert store.performance(NOW + EXPIRY) == {}
    assert store.performance(NOW)["gpt-4o", "testing"].samples == 1.0


def test_five_failures_open_a_breaker_and_a_probe_closes_it(store: StateStore) -> None:
    opened = _fail(store, 5)

    assert store.breakers() == {KEY: opened}
    assert not store.admit(KEY, later(seconds=59))
    assert store.admit(KEY, later(seconds=60))
    assert not store.admit(KEY, later(seconds=61))
    assert store.succeed(KEY, later(seconds=62)) == Breaker() == store.breakers()[KEY]


def test_probe_given_back_is_lent_again(store: StateStore) -> None:
    _fail(store, 5)
    store.admit(KEY, later(seconds=60))

    assert store.cancel(KEY, later(seconds=61)).probes == 0
    assert store.admit(KEY, later(seconds=62))


def test_retry_after_opens_at_once(store: StateStore) -> None:
    breaker = store.fail(KEY, NOW, eject_ms=7_000)

    assert (breaker.state, breaker.until) == (Circuit.OPEN, later(seconds=7))
    assert store.breakers()[KEY] == breaker


def test_breakers_do_not_touch_each_other(store: StateStore) -> None:
    _fail(store, 5)

    assert store.admit("provider:openai", NOW)
    assert store.succeed("provider:openai", NOW) == Breaker()


def test_pins_come_newest_first_until_they_expire(store: StateStore) -> None:
    first = pin_to("gpt-4o", expires_at=later(hours=1))
    second = pin_to("o1", task_type="reasoning", created_at=later(minutes=1))
    store.pin(first)
    store.pin(second)

    assert store.pins(later(minutes=2)) == (second, first)
    assert store.pins(later(hours=1)) == (second,)


def test_pin_of_the_same_scope_replaces_the_one_before(store: StateStore) -> None:
    store.pin(pin_to("gpt-4o", expires_at=later(hours=1)))
    renewed = pin_to("gpt-4o", created_at=later(minutes=1))
    store.pin(renewed)

    assert store.pins(later(hours=2)) == (renewed,)


def test_unpin_removes_what_equals_all_given_fields(store: StateStore) -> None:
    kept = pin_to("o1", task_type="planning")
    for pin in (pin_to("o1", task_type="testing"), pin_to("gpt-4o", task_type="testing"), kept):
        store.pin(pin)

    assert store.unpin(expert_id=None, task_type="testing", task=None, tenant=None) == 2
    assert store.unpin(expert_id="o1", task_type="testing", task=None, tenant=None) == 0
    assert store.pins(NOW) == (kept,)


def test_services_come_by_id_with_everything_that_was_said_of_them(store: StateStore) -> None:
    full = service_named(
        "b",
        capabilities=["tools", "analysis"],
        tenant="acme",
        protocol="openai",
        regions=["eu"],
        weight=0.1,
        input_usd_per_mtok="0.1",
    )
    plain = service_named("a")

    assert store.register(full)
    assert store.register(plain)
    assert store.services() == (plain, full)
    assert store.services() is store.services()


def test_service_of_the_same_id_is_replaced_by_its_owner_alone(store: StateStore) -> None:
    mine, moved = (service_named(tenant="acme", endpoint=f"https://{host}.example") for host in "ab")
    store.register(mine)

    assert not store.register(service_named(tenant="other"))
    assert not store.register(service_named())
    assert store.services() == (mine,)
    assert store.register(moved)
    assert store.services() == (moved,)


def test_unregister_forgets_one_service(store: StateStore) -> None:
    kept = service_named("a")
    for service in (kept, service_named("b")):
        store.register(service)

    assert [store.unregister("b"), store.unregister("b")] == [True, False]
    assert store.services() == (kept,)


def test_reweigh_sets_the_weights_of_services_that_there_are(store: StateStore) -> None:
    for name in ("a", "b"):
        store.register(service_named(name))

    assert store.reweigh({"a": 0.25, "gone": 9.0})
    assert not store.reweigh({"a": 0.25})
    assert [(one.service_id, one.weight) for one in store.services()] == [("a", 0.25), ("b", 1.0)]


def test_version_changes_with_everything_that_a_decision_reads(store: StateStore) -> None:
    changes: list[Callable[[], object]] = [
        lambda: store.record(SAMPLE, NOW, once="d1/1"),
        lambda: store.fail(KEY, NOW),
        lambda: store.succeed(KEY, NOW),
        lambda: store.pin(pin_to("o1")),
        lambda: store.unpin(expert_id="o1", task_type=None, task=None, tenant=None),
        lambda: store.register(service_named()),
        lambda: store.reweigh({"embedder": 2.0}),
        lambda: store.unregister("embedder"),
    ]
    seen = [store.version()]
    for change in changes:
        change()
        seen.append(store.version())

    assert len(set(seen)) == len(changes) + 1


def test_version_stays_while_nothing_changes(store: StateStore) -> None:
    store.record(SAMPLE, NOW, once="d1/1")
    before = store.version()

    store.record(SAMPLE, NOW, once="d1/1")
    store.admit(KEY, NOW)
    store.succeed(KEY, NOW)
    store.cancel(KEY, NOW)
    store.unpin(expert_id="o1", task_type=None, task=None, tenant=None)
    store.unregister("embedder")
    store.reweigh({"embedder": 2.0})
    store.performance(NOW)

    assert store.version() == before


def test_threads_lose_no_observation(store: StateStore) -> None:
    _at_once(lambda number: store.record(SAMPLE, NOW, once=f"d{number // 2}"), 400)

    assert store.performance(NOW)["gpt-4o", "testing"].samples == 200.0


def test_threads_lose_no_failure(store: StateStore) -> None:
    patient = "provider:openai"
    opened = _at_once(lambda _: store.fail(patient, NOW), 5)

    assert sorted(breaker.failures for breaker in opened if isinstance(breaker, Breaker)) == [1, 2, 3, 4, 5]
    assert store.breakers()[patient].state is Circuit.OPEN


def test_threads_lose_no_pin(store: StateStore) -> None:
    _at_once(lambda number: store.pin(pin_to(f"e{number}")), 50)

    assert {pin.expert_id for pin in store.pins(NOW)} == {f"e{number}" for number in range(50)}


def test_threads_lose_no_service(store: StateStore) -> None:
    _at_once(lambda number: store.register(service_named(f"s{number}")), 50)

    assert {one.service_id for one in store.services()} == {f"s{number}" for number in range(50)}


def test_one_thread_alone_gets_the_probe(store: StateStore) -> None:
    _fail(store, 5)

    assert sum(map(bool, _at_once(lambda _: store.admit(KEY, later(seconds=60)), 100))) == 1


def test_readers_never_see_half_a_change(store: StateStore) -> None:
    """Latency and cost are folded from equal series, so any whole record has them equal."""
    even = [replace(SAMPLE, latency_ms=float(n), cost_usd=float(n)) for n in range(200)]

    with ThreadPoolExecutor(THREADS) as pool:
        written = [pool.submit(partial(store.record, sample, NOW)) for sample in even]
        read = [pool.submit(store.performance, NOW) for _ in range(200)]

    assert all(result.result() for result in written)
    assert all(p.latency_ms == p.cost_usd for result in read for p in result.result().values())


def test_close_may_be_called_twice(store: StateStore) -> None:
    store.close()
    store.close()
