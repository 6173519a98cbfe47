"""SIGTERM while there is work: answers that are due come, what takes too long is settled, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import ScopeStatus
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from crew_moe.state import open_ledger
from tests.service.program import Program, serving
from tests.service.talking import ended, heard, talking
from tests.waiting import until

pytestmark = pytest.mark.accept

RUN: Final = "run:shutdown"
ASK: Final[dict[str, Any]] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "What do the figures say?"}],
    "max_tokens": 200,
    "crew_moe": {"run_id": "shutdown", "fallbacks": []},
}
LEASES_S: Final = 3600.0


@pytest.fixture(params=["one process", "two workers"])
def flags(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    if request.param == "one process":
        return ("--state", f"sqlite:///{tmp_path}/state.db")
    return ("--workers", "2", "--state", request.getfixturevalue("redis_url"))


Start = Any


@pytest.fixture
def start(flags: tuple[str, ...], tmp_path: Path) -> Start:
    """Start the program over providers that follow a rule."""

    @contextmanager
    def begin(rule: dict[str, Any], *more: str) -> Iterator[tuple[Program, Simulation]]:
        with simulate({"speed": 0, "rules": [rule]}) as sim:
            env = {"CREW_MOE_SERVE_PROVIDERS": str(sim.base_url)}
            with serving(tmp_path, *flags, *more, env=env) as program:
                yield program, sim

    return begin


@contextmanager
def asking(program: Program, sim: Simulation, **fields: Any) -> Iterator[Future[httpx.Response]]:
    """A chat that its provider has been asked for."""
    with program.client() as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/v1/chat/completions", json={**ASK, **fields})
        until(lambda: bool(sim.requests))
        yield answer


def money(flags: tuple[str, ...], *, later_s: float = 0.0) -> ScopeStatus:
    """What the run has spent and holds, so much later."""
    clock = ManualClock(datetime.now(UTC) + timedelta(seconds=later_s))
    ledger = open_ledger(flags[-1], clock=clock)
    try:
        return ledger.status(RUN)
    finally:
        ledger.close()


def router_over(flags: tuple[str, ...]) -> AbstractContextManager[Router]:
    return Router.from_config(state=flags[-1])


def test_an_answer_that_is_due_comes_and_is_settled(start: Start, flags: tuple[str, ...]) -> None:
    with start({"latency_ms": 1500}) as (program, sim), asking(program, sim) as answer:
        program.tell()
        body = answer.result().raise_for_status().json()
        code = program.process.wait(30)

    told = body["crew_moe"]
    assert code == 0
    assert money(flags).settled_usd == Decimal(told["cost_usd"]) > 0
    assert money(flags).reserved_usd == 0
    with router_over(flags) as router:
        assert router.explain(told["decision_id"]).served_by == "gpt-4o"


def test_a_call_that_takes_too_long_is_cut_off_and_counts_in_full(start: Start, flags: tuple[str, ...]) -> None:
    with start({"latency_ms": 20_000}, "--drain-s", "0.5") as (program, sim), asking(program, sim) as answer:
        began = time.monotonic()
        code = program.end()
        took_s = time.monotonic() - began
        told = answer.result()

    held = money(flags)
    assert (code, told.status_code, told.headers["Retry-After"]) == (0, 503, "1")
    assert told.json()["error"]["code"] == "stopping"
    assert told.headers["X-Request-ID"]
    assert 0.5 <= took_s < 10
    assert held.reserved_usd + held.settled_usd > 0
    later = money(flags, later_s=LEASES_S)
    assert later.reserved_usd == 0
    assert later.settled_usd == held.reserved_usd + held.settled_usd


@pytest.mark.parametrize("flags", ["one process"], indirect=True)
def test_a_stream_is_told_to_its_end(start: Start, flags: tuple[str, ...]) -> None:
    with start({"error": "slow_drip", "drip_ms": 100}) as (program, _), program.client() as client:
        with client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as answer:
            lines = answer.iter_lines()
            first = next(lines)
            program.tell()
            rest = [line for line in lines if line]
        code = program.process.wait(30)

    assert first.startswith("data: {")
    assert (code, rest[-1]) == (0, "data: [DONE]")
    assert money(flags).reserved_usd == 0
    assert money(flags).settled_usd > 0


@pytest.mark.parametrize("flags", ["one process"], indirect=True)
def test_a_stream_that_never_ends_is_cut_off(start: Start, flags: tuple[str, ...]) -> None:
    rule = {"error": "slow_drip", "drip_ms": 400}
    with (
        start(rule, "--drain-s", "0.5") as (program, _),
        program.client() as client,
        client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        code = program.end()
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)

    assert code == 0
    later = money(flags, later_s=LEASES_S)
    assert later.reserved_usd == 0
    assert later.settled_usd > 0


def test_who_only_listens_is_told_that_the_server_goes_away(start: Start) -> None:
    with start({}) as (program, _), talking(program.url) as client:
        heard(client, "ready")
        program.tell()

        assert ended(client) == 1001
        assert program.process.wait(30) == 0


def test_every_decision_that_was_told_is_in_the_log(start: Start, flags: tuple[str, ...]) -> None:
    with start({}, "--rate", "100000/second") as (program, _):
        with program.client() as client, ThreadPoolExecutor(8) as pool:
            ask = partial(client.post, "/api/v1/route")
            answers = list(pool.map(lambda n: ask(json={"text": f"Note {n}"}).json()["decision_id"], range(200)))
        assert program.end() == 0

    with router_over(flags) as router:
        assert all(router.explain(decision_id) for decision_id in answers)


def test_a_second_ctrl_c_does_not_wait_and_settles_all_the_same(start: Start, flags: tuple[str, ...]) -> None:
    with start({"latency_ms": 20_000}) as (program, sim), asking(program, sim) as answer:
        program.interrupt()
        waited = program.stays(0.5)
        program.interrupt()
        code = program.process.wait(15)
        status = answer.result().status_code

    assert (waited, code, status) == (True, 0, 503)
    assert money(flags, later_s=LEASES_S).reserved_usd == 0
    assert "Traceback" not in program.said
