"""Work that is passed on to services: breakers, places, time and rows stand around it as around a model's call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crew_moe import ExecutionFailed, Router
from crew_moe.domain.host_rules import LOOPBACK
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.principal import Principal
from crew_moe.domain.service import Registration
from crew_moe.errors import InvalidRequest, RefusedError, UnknownService
from crew_moe.execution import service_calls
from crew_moe.execution.service_calls import ServiceCalls
from crew_moe.execution.trail import StopReason
from crew_moe.services import Wanted
from tests.router.ruled import ruled
from tests.service_host import Host, hosting

ACME = Principal(subject="ann", tenant="acme")


@pytest.fixture
def host() -> Iterator[Host]:
    with hosting() as running:
        yield running


@pytest.fixture(params=["memory", "sqlite"])
def on(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Router]:
    state = ":memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/state.db"
    with ruled(tmp_path, state=state, service_hosts=LOOPBACK) as router:
        yield router


def _join(on: Router, host: Host, **told: Any) -> None:
    given = {"service_id": "worker", "service_type": "storage", "endpoint": host.url(), **told}
    on.services.register(Registration(**given))


def _failed(on: Router, data: Any = None, **how: Any) -> ExecutionFailed:
    with pytest.raises(ExecutionFailed) as caught:
        on.services.proxy("worker", data, **how)
    return caught.value


def _calls(on: Router) -> ServiceCalls:
    return on.services._calls


def test_the_answer_comes_back_and_the_call_is_on_record(on: Router, host: Host) -> None:
    _join(on, host)
    done = on.services.proxy("worker", {"rows": [1, 2]})
    told = on.explain(done.decision_id)

    assert (done.status, done.data["done"], done.service_id) == (200, {"rows": [1, 2]}, "worker")
    assert done.as_dict()["data"] == done.data
    assert (told.matches, told.served_by, len(told.served)) == (True, "worker", 1)
    assert on.services.list()[0].calls == pytest.approx(1.0)
    assert _calls(on).under_way == {}


async def test_it_comes_back_on_a_loop_too(on: Router, host: Host) -> None:
    _join(on, host)
    decision = on.services.route(Wanted("storage"))
    assert decision is not None
    done = await on.services.aproxy("worker", "x", decision=decision)  # type: ignore[arg-type]  # one service: a Decision

    assert (done.data["done"], done.decision_id) == ("x", decision.decision_id)


def test_an_empty_answer_is_none(on: Router, host: Host) -> None:
    _join(on, host)
    host.status, host.body = 204, b""

    assert on.services.proxy("worker", 1).data is None


@pytest.mark.parametrize(
    ("status", "body", "error", "reason"),
    [
        (500, b"oops, secret", ErrorClass.SERVER, StopReason.EXHAUSTED),
        (400, b"{}", ErrorClass.BAD_REQUEST, StopReason.REJECTED),
        (429, b"{}", ErrorClass.RATE_LIMIT, StopReason.ROOM),
        (404, b"{}", ErrorClass.NOT_FOUND, StopReason.EXHAUSTED),
        (200, b"<html>secret</html>", ErrorClass.MALFORMED, StopReason.EXHAUSTED),
    ],
)
def test_a_failure_is_an_attempt_of_its_class_and_quotes_nothing(
    on: Router, host: Host, status: int, body: bytes, error: ErrorClass, reason: StopReason
) -> None:
    _join(on, host)
    host.status, host.body = status, body
    failure = _failed(on, {"a": "secret"})

    assert (failure.reason, failure.attempts[0].error, failure.attempts[0].expert_id) == (reason, error, "worker")
    assert "secret" not in str(failure)


def test_a_redirect_is_not_followed(on: Router, host: Host) -> None:
    _join(on, host)
    host.status, host.headers = 302, {"Location": host.url("/elsewhere")}

    assert _failed(on).attempts[0].error is ErrorClass.NOT_FOUND
    assert [path for _, path, _ in host.calls] == ["/run"]


def test_five_failures_open_its_breaker(on: Router, host: Host) -> None:
    _join(on, host)
    host.status = 500
    errors = [_failed(on).attempts[0].error for _ in range(5)]
    on.stats()

    assert errors == [ErrorClass.SERVER] * 5
    with pytest.raises(RefusedError, match="circuit_open"):
        on.services.proxy("worker", 1)
    assert len(host.posts) == 5


def test_a_breaker_that_opened_since_the_choice_stops_the_call(on: Router, host: Host) -> None:
    _join(on, host)
    decision = on.services.route(Wanted("storage"))
    for _ in range(5):
        on.state.fail("expert:worker", on.clock.now())

    assert _failed(on, decision=decision).attempts[0].error is ErrorClass.CIRCUIT_OPEN
    assert host.calls == []


def test_places_are_kept_and_given_back(on: Router, host: Host) -> None:
    _join(on, host, max_capacity=1)
    decision = on.services.route(Wanted("storage"))
    host.open.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(on.services.proxy, "worker", 1)
        host.arrived.acquire()
        assert _failed(on, 2, decision=decision).reason == StopReason.ROOM
        with pytest.raises(RefusedError, match="no_room"):
            on.services.proxy("worker", 3)
        host.open.set()
        assert first.result().data["done"] == 1

    assert on.services.proxy("worker", 4).data["done"] == 4
    assert on.guards.meters.status("expert:worker", on.clock.now()).in_use == 0


def test_a_service_that_hangs_has_its_time(on: Router, host: Host) -> None:
    _join(on, host)
    host.open.clear()
    _calls(on)._timeout_s = 0.05

    failure = _failed(on)

    assert (failure.reason, failure.attempts[0].error) == (StopReason.DEADLINE, ErrorClass.TIMEOUT)


async def test_a_caller_who_leaves_gives_the_place_back(on: Router, host: Host) -> None:
    _join(on, host, max_capacity=1)
    host.open.clear()
    call = asyncio.create_task(on.services.aproxy("worker", 1))
    await asyncio.to_thread(host.arrived.acquire)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert _calls(on).under_way == {}
    assert on.guards.meters.status("expert:worker", on.clock.now()).in_use == 0
    host.open.set()
    assert (await on.services.aproxy("worker", 2)).data["done"] == 2


@pytest.mark.parametrize("data", [{1, 2}, float("nan"), threading.Lock()])
def test_what_is_no_json_is_refused_before_anything_is_taken(on: Router, host: Host, data: Any) -> None:
    _join(on, host, max_capacity=1)

    with pytest.raises(InvalidRequest, match="data: is not JSON"):
        on.services.proxy("worker", data)
    assert on.services.proxy("worker", 1).status == 200


def test_too_much_is_refused_and_too_much_in_answer_too(
    on: Router, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    _join(on, host)
    monkeypatch.setattr(service_calls, "MAX_DATA", 100)
    monkeypatch.setattr(service_calls, "MAX_ANSWER", 100)

    with pytest.raises(InvalidRequest, match="at most 100 are passed on"):
        on.services.proxy("worker", "x" * 200)
    host.body = b'"' + b"x" * 200 + b'"'
    assert _failed(on).attempts[0].error is ErrorClass.MALFORMED


def test_the_gate_has_its_word(tmp_path: Path, host: Host) -> None:
    rules = "gate: {checks: [{has_any_role: [lead]}]}"
    lead = Principal(subject="ann", tenant="acme", roles=frozenset({"lead"}))
    with ruled(tmp_path, rules, service_hosts=LOOPBACK) as on:
        _join(on, host, max_capacity=1, tier="premium")
        failure = _failed(on, 1, principal=ACME)

        assert (failure.reason, failure.attempts[0].error) == (StopReason.DENIED, ErrorClass.DENIED)
        assert host.calls == []
        assert on.services.proxy("worker", 1, principal=lead).status == 200


def test_what_takes_chats_is_not_proxied_to(on: Router, host: Host) -> None:
    _join(on, host, protocol="openai")

    with pytest.raises(InvalidRequest, match="takes chats"):
        on.services.proxy("worker", {})


def test_nobody_reaches_the_service_of_another_tenant(on: Router, host: Host) -> None:
    _join(on, host, tenant="other")

    with pytest.raises(UnknownService) as unknown:
        on.services.proxy("worker", 1, principal=ACME)
    assert unknown.value.allowed == ()


def test_a_decision_lets_nobody_else_be_called(on: Router, host: Host) -> None:
    _join(on, host)
    _join(on, host, service_id="elsewhere", service_type="other")
    decision = on.services.route(Wanted("other"))

    with pytest.raises(InvalidRequest, match="not among those that were chosen"):
        on.services.proxy("worker", 1, decision=decision)  # type: ignore[arg-type]  # one service: a Decision


def test_a_host_that_is_listed_no_more_is_not_asked(tmp_path: Path, host: Host) -> None:
    state = f"sqlite:///{tmp_path}/state.db"
    with ruled(tmp_path, state=state, service_hosts=LOOPBACK) as before:
        _join(before, host, health_url=host.url("/health"))
    with ruled(tmp_path, state=state) as after:
        failure = _failed(after)
        well = after.services.check()

    assert (failure.attempts[0].error, well) == (ErrorClass.NOT_FOUND, {"worker": False})
    assert host.calls == []


def test_a_closed_router_calls_nobody(on: Router, host: Host) -> None:
    _join(on, host)
    on.services.proxy("worker", 1)
    _calls(on).close()

    assert _failed(on).attempts[0].error is ErrorClass.SKIPPED
