"""Two workers over one Redis answer as one service: money, breakers, pins, rates, decisions and metrics are shared."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import ScopeStatus
from crew_moe.sim import Simulation, simulate
from crew_moe.state import open_ledger
from tests.redis_server import RedisServer
from tests.service.program import PATIENCE_S, Program, serving
from tests.waiting import until

pytestmark = pytest.mark.accept

TENANT: Final = "tenant:acme"
LIMIT: Final = "0.02"
SEEN_WITHIN_S: Final = 0.25
FAULTS: Final = (500, 503, 429, "reset", "malformed")
POLICY: Final = "breaker: {failures: 3, ejection_ms: 1000}\nlimits: {max_retry_after_ms: 0}\n"
CHAT: Final = "/v1/chat/completions"
ROUTE: Final = "/api/v1/route"
CODE: Final = {"task_type": "code_generation", "text": "Write an API"}


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulation]:
    """Providers in a storm: two calls of five fail, each in its own way."""
    rng = Random(7)
    struck = [number for number in range(1, 600) if rng.random() < 0.4]
    rules = [{"provider": "openai", "error": rng.choice(FAULTS), "from_call": one, "to_call": one} for one in struck]
    with simulate({"speed": 0.002, "rules": rules}) as running:
        yield running


@pytest.fixture(scope="module")
def program(sim: Simulation, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "config").mkdir()
    (folder / "config" / "policy.yaml").write_text(POLICY, encoding="utf-8")
    assert redis_server.ask("FLUSHALL") == "+OK"
    flags = ("--workers", "2", "--state", redis_server.url, "--config", "config", "--rate", "1000000/second")
    with serving(folder, *flags, env={"CREW_MOE_SERVE_PROVIDERS": str(sim.base_url)}) as running:
        yield running


@pytest.fixture
def workers(program: Program) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A client of each worker: a connection stays with the worker that took it."""
    found: dict[str, httpx.Client] = {}
    until(lambda: _meet(program, found) == 2, PATIENCE_S)
    first, second = found.values()
    yield first, second
    for client in found.values():
        client.close()


def _meet(program: Program, found: dict[str, httpx.Client]) -> int:
    """Connect once more, and keep the connection where it is the first to its worker."""
    client = httpx.Client(base_url=program.url, timeout=PATIENCE_S, limits=httpx.Limits(max_connections=1))
    if found.setdefault(worker_of(client), client) is not client:
        client.close()
    return len(found)


def worker_of(client: httpx.Client) -> str:
    """Who answers, by the ids that it gives to decisions."""
    return str(route(client)["decision_id"]).rpartition("-")[0]


def route(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(ROUTE, json={**CODE, **fields}).raise_for_status().json()
    return answer


def chosen(client: httpx.Client) -> dict[str, Any]:
    """A decision for somebody: what an earlier test broke comes back in a moment."""
    answers: list[dict[str, Any]] = []

    def found() -> bool:
        answers.append(route(client))
        return bool(answers[-1]["ok"])

    until(found)
    return answers[-1]


def chat(client: httpx.Client, model: str = "auto", **hints: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 300}
    return client.post(CHAT, json={**body, "crew_moe": hints})


def on_new_connections(
    program: Program, work: Callable[[httpx.Client], Any], times: int, threads: int = 8
) -> list[Any]:
    """What `work` gives, so many times at once, by whichever worker takes the connection."""

    def once(_: int) -> Any:
        with program.client() as client:
            return work(client)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(once, range(times)))


def spent(redis_server: RedisServer, scope: str, *, later_s: float = 0.0) -> ScopeStatus:
    ledger = open_ledger(redis_server.url, clock=ManualClock(datetime.now(UTC) + timedelta(seconds=later_s)))
    try:
        return ledger.status(scope)
    finally:
        ledger.close()


def routed(client: httpx.Client) -> float:
    """How many decisions /metrics counts."""
    text = client.get("/metrics").raise_for_status().text
    return sum(float(value) for value in re.findall(r"^moe_routing_total\{.*\} (\S+)$", text, re.MULTILINE))


def test_money_is_never_passed_whatever_fails(program: Program, sim: Simulation, redis_server: RedisServer) -> None:
    ledger = open_ledger(redis_server.url)
    ledger.set_limit(TENANT, usd=LIMIT, window="month")
    passed: list[ScopeStatus] = []
    numbers = count()

    def spend(client: httpx.Client) -> int:
        answer = chat(client, "gpt-4o", fallbacks=["gpt-4o-mini"], tenant="acme", run_id=f"r{next(numbers)}")
        status = ledger.status(TENANT)
        passed.extend([status] if status.settled_usd + status.reserved_usd > Decimal(LIMIT) else [])
        return answer.status_code

    codes = Counter(on_new_connections(program, spend, 150))

    ledger.close()
    assert passed == []
    assert 0 < codes[200] < 150, codes
    assert any(request.fault for request in sim.requests)
    later = spent(redis_server, TENANT, later_s=3600)
    assert later.reserved_usd == 0
    assert 0 < later.settled_usd <= Decimal(LIMIT)
    assert later.overrun_usd == 0


def test_a_breaker_that_one_opens_is_seen_by_the_other(
    workers: tuple[httpx.Client, httpx.Client], sim: Simulation
) -> None:
    first, second = workers
    took_s = []
    for _ in range(3):
        expert_id = chosen(second)["expert_id"]
        sim.kill(expert_id)
        while route(first).get("expert_id") == expert_id:
            chat(first, expert_id, fallbacks=[])
        took_s.append(until(lambda gone=expert_id: route(second).get("expert_id") != gone))  # type: ignore[misc]
        sim.revive(expert_id)

    assert min(took_s) < SEEN_WITHIN_S, took_s


def test_a_pin_of_one_binds_the_other(workers: tuple[httpx.Client, httpx.Client]) -> None:
    first, second = workers
    override = "/api/v1/strategy/override"

    until(lambda: len(chosen(first)["fallbacks"]) > 1)
    pinned = chosen(first)["fallbacks"][-1]
    first.post(override, json={"expert_id": pinned, "task_type": "code_generation"}).raise_for_status()
    took_s = until(lambda: route(second).get("expert_id") == pinned)
    second.post(override, json={"clear": True}).raise_for_status()
    until(lambda: chosen(first)["expert_id"] != pinned)

    assert took_s < SEEN_WITHIN_S


def test_a_decision_of_one_is_explained_by_the_other(workers: tuple[httpx.Client, httpx.Client]) -> None:
    first, second = workers
    decision = chosen(first)

    def looked_up() -> httpx.Response:
        return second.get(f"/api/v1/decisions/{decision['decision_id']}")

    until(lambda: looked_up().status_code == 200)
    told = looked_up().json()
    assert (told["matches"], told["decision"]["expert_id"]) == (True, decision["expert_id"])


def test_metrics_are_those_of_both(workers: tuple[httpx.Client, httpx.Client]) -> None:
    first, second = workers
    until(lambda: routed(first) == routed(second))  # each counts what it did when it has nothing better to do
    before = routed(first)

    for client in (*workers, first):
        route(client)

    until(lambda: routed(first) == routed(second) == before + 3)


@pytest.fixture
def strict(redis_url: str, tmp_path: Path) -> Iterator[Program]:
    """A service of its own, whose workers may be killed and whose callers may ask 40 times."""
    flags = ("--workers", "2", "--state", redis_url, "--rate", "40/hour", "--simulate")
    with serving(tmp_path, *flags, env={"CREW_MOE_LOG_FORMAT": "json"}) as running:
        yield running


def test_callers_have_one_rate_for_all_workers(strict: Program) -> None:
    codes = on_new_connections(strict, lambda client: client.post(ROUTE, json=CODE).status_code, 60)

    assert Counter(codes) == {200: 40, 429: 20}


def test_a_killed_worker_is_replaced_and_leaks_nothing(sim: Simulation, redis_url: str, tmp_path: Path) -> None:
    env = {"CREW_MOE_SERVE_PROVIDERS": str(sim.base_url), "CREW_MOE_LOG_FORMAT": "json", "TMPDIR": str(tmp_path)}
    flags = ("--workers", "2", "--state", redis_url, "--rate", "1000000/second")
    with serving(tmp_path, *flags, env=env) as program:
        on_new_connections(program, route, 40)
        before = children(program)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(set(children(program)) - set(before)) == 1)
        assert not list(tmp_path.glob(f"crew-moe-metrics-*/gauge_live*_{before[0]}.db"))
        until(lambda: len({*on_new_connections(program, worker_of, 8, threads=4)}) == 2, PATIENCE_S)
        with program.client() as client:
            counted = routed(client)
            assert client.get("/ready").status_code == 200
        assert program.end() == 0

    assert not list(tmp_path.glob("crew-moe-metrics-*"))
    assert counted >= 48  # what the killed one had counted too
    assert '"event": "worker_ended"' in program.said
    assert "Traceback" not in program.said


def test_workers_come_back_when_their_state_does(mortal_redis: RedisServer, tmp_path: Path) -> None:
    flags = ("--workers", "2", "--state", mortal_redis.url, "--simulate")
    with serving(tmp_path, *flags, env={"CREW_MOE_LOG_FORMAT": "json"}) as program, program.client() as client:
        mortal_redis.kill()
        os.kill(children(program)[0], signal.SIGKILL)
        until(lambda: '"event": "worker_failed"' in program.said, PATIENCE_S)
        mortal_redis.start()
        until(lambda: len(children(program)) == 2, PATIENCE_S)
        until(lambda: client.get("/ready").status_code == 200, PATIENCE_S)

        assert program.end() == 0
        assert "Traceback" not in program.said


def test_workers_go_where_their_parent_was_killed(strict: Program) -> None:
    left = children(strict)
    strict.tell(signal.SIGKILL)

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))


def children(program: Program) -> list[int]:
    """The processes of the workers."""
    pids = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
    return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
