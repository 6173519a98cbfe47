"""Services that register while the router runs: routed to, called, and gone again, in every replica."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crew_moe import Decision, Feedback, Infeasible, Outcome, Router
from crew_moe.domain.host_rules import LOOPBACK
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.service import Registration, Service
from crew_moe.errors import HostNotAllowed, InvalidInput, ServiceConflict, UnknownService
from crew_moe.services import Wanted, selected_services
from tests.router.ruled import answered, asked, events, failed, ruled
from tests.service_host import Host, hosting
from tests.waiting import until

STORAGE = Wanted("storage")


@pytest.fixture
def host() -> Iterator[Host]:
    with hosting() as running:
        yield running


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Router]:
    with ruled(tmp_path, service_hosts=LOOPBACK) as router:
        yield router


def entry(host: Host, service_id: str = "worker", **told: Any) -> Registration:
    given = {"service_type": "storage", "endpoint": host.url(), "health_url": host.url("/health"), **told}
    return Registration(service_id=service_id, **given)


def chatty(host: Host, service_id: str = "chatty", **told: Any) -> Registration:
    """The best and fastest of all models, if one believes it."""
    given = {"protocol": "openai", "endpoint": host.url("/v1"), "quality": 1.0, "latency_ms": 1.0, **told}
    return entry(host, service_id, **given)


def chosen(on: Router, wanted: Wanted = STORAGE) -> Decision:
    found = on.services.route(wanted)
    assert isinstance(found, Decision), found
    return found


# ---- the register ------------------------------------------------------------------------------------------------


def test_a_chat_service_is_called_as_any_expert(on: Router, host: Host) -> None:
    service = on.services.register(chatty(host, model="llama"), by="ops")
    answer = answered(on, asked(min_quality=0.99))

    assert (answer.expert_id, answer.text) == ("chatty", "llama says hello")
    assert host.calls[-1][1] == "/v1/chat/completions"
    assert on.services.list()[0].service == service
    assert events(on, "service_registered") == [
        {"service_id": "chatty", "service_type": "storage", "tenant": None, "by": "ops"}
    ]


def test_a_base_url_for_providers_is_none_for_services(tmp_path: Path, host: Host) -> None:
    with ruled(tmp_path, service_hosts=LOOPBACK, base_url="http://127.0.0.1:1/v1") as on:
        on.services.register(chatty(host))

        assert answered(on, asked(min_quality=0.99)).expert_id == "chatty"


def test_who_left_is_routed_to_no_more(on: Router, host: Host) -> None:
    on.services.register(chatty(host))
    before = on.overrides_version()
    on.services.unregister("chatty")

    assert "chatty" not in on.registry
    assert isinstance(on.decide(asked(min_quality=0.99)), Infeasible)
    assert on.overrides_version() != before
    with pytest.raises(UnknownService):
        on.services.unregister("chatty")


def test_what_came_of_it_can_be_told_after_it_left(on: Router, host: Host) -> None:
    on.services.register(entry(host))
    decision = chosen(on)
    on.services.unregister("worker")

    assert on.record(Outcome(decision_id=decision.decision_id, expert_id="worker", success=True, latency_ms=5.0))


@pytest.mark.parametrize("service_id", ["gpt-4o", "auto", "auto-1", "moe-auto", "MOE-x"])
def test_an_id_that_is_taken_is_refused(on: Router, host: Host, service_id: str) -> None:
    with pytest.raises(ServiceConflict, match="service_id"):
        on.services.register(entry(host, service_id))


def test_an_id_is_its_owners(on: Router, host: Host) -> None:
    on.services.register(entry(host, tenant="acme"))

    with pytest.raises(ServiceConflict, match="another owner"):
        on.services.register(entry(host, tenant="other"))
    with pytest.raises(UnknownService):
        on.services.unregister("worker", owner="other")
    on.services.register(entry(host, tenant="acme", max_capacity=3))
    assert on.services.get("worker", owner="acme").max_capacity == 3


def test_a_tenant_takes_no_shared_service_away(on: Router, host: Host) -> None:
    on.services.register(entry(host))

    with pytest.raises(ServiceConflict, match="operator"):
        on.services.unregister("worker", owner="acme")


@pytest.mark.parametrize("field", ["endpoint", "health_url"])
@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://169.254.169.254/latest", "http://redis:6379"])
def test_addresses_that_are_not_listed_are_refused(on: Router, host: Host, field: str, url: str) -> None:
    with pytest.raises(HostNotAllowed, match=f"{field}: its host is"):
        on.services.register(entry(host, **{field: url}))


def test_a_name_is_judged_by_what_it_stands_for(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"inner.example.com": ["10.0.0.1"], "outer.example.com": ["93.184.216.34"]}
    monkeypatch.setattr("crew_moe.services.addresses_of", lambda name: known.get(name, []))
    with ruled(tmp_path) as on:
        with pytest.raises(HostNotAllowed, match="stands for"):
            on.services.register(entry(host, endpoint="http://inner.example.com", health_url=None))
        for name in ("outer", "unknown-yet"):
            on.services.register(entry(host, name, endpoint=f"http://{name}.example.com", health_url=None))


def test_hosts_come_from_the_environment_where_none_are_given(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_MOE_SERVICE_HOSTS", " 127.0.0.0/8 , *.svc ")
    with ruled(tmp_path) as on:
        assert on.services.register(entry(host)).service_id == "worker"
    monkeypatch.setenv("CREW_MOE_SERVICE_HOSTS", "127.1")
    with pytest.raises(InvalidInput, match="no host and no network"):
        ruled(tmp_path)


# ---- replicas ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    here = f"sqlite:///{tmp_path}/state.db"
    return here if request.param == "sqlite" else str(request.getfixturevalue("redis_url"))


def test_every_replica_sees_who_joins_and_leaves(url: str, host: Host) -> None:
    with (
        Router.from_config(state=url, service_hosts=LOOPBACK) as one,
        Router.from_config(state=url, service_hosts=LOOPBACK) as other,
    ):
        one.services.register(chatty(host))
        until(lambda: "chatty" in other.registry)
        decision = other.decide(asked(min_quality=0.99))
        assert isinstance(decision, Decision)
        assert (decision.expert_id, decision.registry_digest) == ("chatty", one.registry.digest)

        other.services.unregister("chatty")
        until(lambda: "chatty" not in one.registry)


def test_it_is_there_when_a_router_starts(url: str, host: Host) -> None:
    with Router.from_config(state=url, service_hosts=LOOPBACK) as first:
        first.services.register(entry(host))
    with Router.from_config(state=url, service_hosts=LOOPBACK) as second:
        assert chosen(second).expert_id == "worker"
        assert second.services.proxy("worker", [1]).data["done"] == [1]


def test_a_replica_calls_no_host_that_it_does_not_list_itself(tmp_path: Path, host: Host) -> None:
    state = f"sqlite:///{tmp_path}/state.db"
    with ruled(tmp_path, state=state, service_hosts=LOOPBACK) as before:
        before.services.register(chatty(host))
    with ruled(tmp_path, state=state) as after:
        failure = failed(after, asked(min_quality=0.99))

    assert [row.error for row in failure.attempts if row.expert_id == "chatty"] == [ErrorClass.NOT_FOUND]
    assert host.calls == []


# ---- routing by type ---------------------------------------------------------------------------------------------


def test_work_goes_to_the_services_of_its_type(on: Router, host: Host) -> None:
    for name, kind in (("a", "storage"), ("b", "storage"), ("c", "consensus")):
        on.services.register(entry(host, name, service_type=kind, capabilities=["fast"]))
    simple, hard = chosen(on), chosen(on, Wanted("storage", complexity=0.9))

    assert simple.expert_id in {"a", "b"}
    assert selected_services(simple) == (simple.expert_id,)
    assert sorted(selected_services(hard)) == ["a", "b"]
    assert chosen(on, Wanted("consensus", ["fast"])).expert_id == "c"
    assert len(on.services.match(Wanted("fast"))) == 3


@pytest.mark.parametrize("wanted", [Wanted("nothing"), Wanted("storage", ["gold"]), Wanted("storage", tenant="other")])
def test_work_that_no_service_does_is_nobodys(on: Router, host: Host, wanted: Wanted) -> None:
    on.services.register(entry(host, tenant="acme"))

    assert on.services.route(wanted) is None


def test_the_choice_is_a_decision_on_record(on: Router, host: Host) -> None:
    for name in ("a", "b", "c"):
        on.services.register(entry(host, name))
    decision = chosen(on, Wanted("storage", tenant="acme"))
    on.record(Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=True, latency_ms=5.0))
    on.feedback(Feedback(decision_id=decision.decision_id, source="me", quality=1.0))
    told = on.explain(decision.decision_id)

    assert told.matches
    assert told.served_by == decision.expert_id
    assert told.row["service_type"] == "storage"
    assert "tenant" in told.row["identity"]
    assert {row.service.service_id: row.calls for row in on.services.list()}[decision.expert_id] == pytest.approx(1.0)


def test_access_rules_hold_for_services_too(tmp_path: Path, host: Host) -> None:
    rules = "access: [{name: no strangers, who: {tenants: [clinic]}, only: {providers: [mistral]}}]"
    with ruled(tmp_path, rules, service_hosts=LOOPBACK) as on:
        on.services.register(entry(host))
        on.services.register(chatty(host))

        refused = on.services.route(Wanted("storage", tenant="clinic"))
        assert isinstance(refused, Infeasible)
        assert refused.binding == "access"
        assert isinstance(on.decide(asked(min_quality=0.99, tenant="clinic")), Infeasible)
        assert chosen(on, Wanted("storage", tenant="acme")).expert_id in {"worker", "chatty"}


# ---- load --------------------------------------------------------------------------------------------------------


def _weights(on: Router) -> dict[str, float]:
    return {one.service_id: one.weight for one in on.state.services()}


def test_rebalance_moves_weights_and_nothing_else(on: Router, host: Host) -> None:
    for name in ("slow", "quick"):
        on.services.register(entry(host, name))
    for decision, latency_ms in ((chosen(on), 4000.0), (chosen(on), 40.0)):
        name = "slow" if latency_ms > 1000 else "quick"
        on.record(Outcome(decision_id=decision.decision_id, expert_id=name, success=True, latency_ms=latency_ms))
    services, registry, pins = on.state.services(), on.registry, on.state.pins(on.clock.now())
    (done,) = on.services.rebalance(by="ops")

    assert done.before == {"slow": 1.0, "quick": 1.0}
    assert done.after == _weights(on)
    assert done.after["quick"] > 1.0 > done.after["slow"]
    assert done.score_after > done.score_before
    assert [_but_weight(one) for one in on.state.services()] == [_but_weight(one) for one in services]
    assert (on.registry, on.state.pins(on.clock.now())) == (registry, pins)
    assert on.services.rebalance()[0].after == pytest.approx(done.after)


def _but_weight(service: Service) -> dict[str, Any]:
    return {name: value for name, value in service.as_dict().items() if name != "weight"}


def test_rebalance_asks_for_health_first(on: Router, host: Host) -> None:
    with hosting() as ill:
        ill.well = False
        on.services.register(entry(host, "well"))
        on.services.register(entry(ill, "ill"))
        on.services.register(entry(ill, "silent", health_url=None))
        (done,) = on.services.rebalance("storage")

    assert done.healthy == {"well": True, "ill": False}
    assert done.after["ill"] < done.after["well"] == done.after["silent"]
    assert [path for _, path, _ in ill.calls] == ["/health"]


def test_rebalance_of_a_tenant_leaves_others_alone(on: Router, host: Host) -> None:
    for name, tenant in (("a", "acme"), ("b", "acme"), ("c", None), ("d", "other")):
        on.services.register(entry(host, name, tenant=tenant, weight=3.0))

    done = on.services.rebalance(owner="acme")

    assert [(one.tenant, sorted(one.after)) for one in done] == [("acme", ["a", "b"])]
    assert _weights(on) == {"a": 1.0, "b": 1.0, "c": 3.0, "d": 3.0}
    with pytest.raises(UnknownService, match="storage"):
        on.services.rebalance("storage", owner="nobody")


def test_balance_shows_in_the_score(on: Router, host: Host) -> None:
    assert on.services.balance_score() == 1.0
    for name in ("a", "b"):
        on.services.register(entry(host, name))
    for _ in range(30):
        decision = chosen(on)
        on.record(Outcome(decision_id=decision.decision_id, expert_id="a", success=True, latency_ms=1000.0))
    on.stats()

    assert on.services.balance_score() < 0.85
    assert on.services.rebalance()[0].score_after > 0.85


def test_five_bad_looks_open_the_breaker(on: Router, host: Host) -> None:
    host.well = False
    on.services.register(entry(host))
    looks = [on.services.check() for _ in range(5)]

    assert looks == [{"worker": False}] * 5
    assert (on.services.list()[0].breaker, on.services.list()[0].available) == ("open", False)
    assert isinstance(on.services.route(Wanted("storage")), Infeasible)


async def test_many_routers_loops_share_one_client(on: Router, host: Host) -> None:
    on.services.register(entry(host))
    answers = await asyncio.gather(*(on.services.aproxy("worker", number) for number in range(5)))

    assert [answer.data["done"] for answer in answers] == [0, 1, 2, 3, 4]


def test_load_evens_out_over_unequal_services(on: Router, host: Host) -> None:
    """Each works as fast as it can, work goes by the weights, and now and then somebody rebalances."""
    speed = {"a": 40.0, "b": 160.0, "c": 640.0}
    for name, places in (("a", 100), ("b", 50), ("c", 100)):
        on.services.register(entry(host, name, max_capacity=places))
    scores = []
    for _ in range(6):
        for _ in range(200):
            decision = chosen(on)
            name = decision.expert_id
            on.record(Outcome(decision_id=decision.decision_id, expert_id=name, success=True, latency_ms=speed[name]))
        on.stats()
        scores.append(on.services.balance_score())
        on.services.rebalance("storage")

    assert scores[0] < 0.7
    assert scores[-1] > 0.85


def test_decisions_go_on_while_services_come_and_go(on: Router, host: Host) -> None:
    def come_and_go() -> None:
        for number in range(60):
            on.services.register(chatty(host, f"s{number % 3}"))
            on.services.unregister(f"s{number % 3}")

    with ThreadPoolExecutor(4) as pool:
        coming = pool.submit(come_and_go)
        alone = pool.submit(lambda: [on.decide(asked(min_quality=0.9)) for _ in range(300)])
        routed = pool.submit(lambda: [on.services.route(STORAGE) for _ in range(300)])
        batches = pool.submit(lambda: [on.decide_batch([asked(), asked(text="more")]) for _ in range(100)])

    coming.result()
    assert all(isinstance(one, Decision) for one in alone.result())
    assert all(one is None or isinstance(one, Decision) for one in routed.result())
    assert all(len(one) == 2 for one in batches.result())
    assert on.services.list() == ()
