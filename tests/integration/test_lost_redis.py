"""Routers that share a Redis: what one learns all know soon, and all go on deciding when the server is lost."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from crew_moe import Router
from crew_moe.errors import StateError
from crew_moe.state.redis.store import RedisStore
from crew_moe.telemetry.events import Recorder
from tests.redis_server import RedisServer
from tests.router.given import decided, report
from tests.routing.given import rules
from tests.state.given import POLICY
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).parents[2]
EVERYWHERE_S = 0.25
ROUNDS = 3  # of different providers; their breakers open too
WAITED_S = 0.9  # less than a decision takes that waits for a server that hangs

OUTAGES = pytest.mark.parametrize(
    ("begin", "end"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.freeze, RedisServer.thaw)],
    ids=["killed", "hanging"],
)
Step = Callable[[RedisServer], None]


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def on(mortal_redis: RedisServer, sink: Recorder) -> Iterator[Router]:
    router = Router.from_config(state=mortal_redis.url, sink=sink)
    yield router
    router.close()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[list[MutableMapping[str, Any]]]:
    """The decision log says that it can't store rows; that is not what is looked at here."""
    with capture_logs() as logs:
        yield logs


def _program(what: str, url: str, **pipes: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.replica", what, url], cwd=ROOT, text=True, **pipes
    )


def _lost(on: Router) -> bool:
    return on._boards.lost


def _seen_after(on: Router, replica: subprocess.Popen[str]) -> float:
    """The seconds from the word of another process that an expert's breaker is open to the decision that knows."""
    assert replica.stdin is not None
    assert replica.stdout is not None
    first = decided(on).expert_id
    replica.stdin.write(f"{first}\n")
    replica.stdin.flush()
    assert replica.stdout.readline() == "done\n"
    return until(lambda: rules(decided(on)).get(first) == "circuit_open")


def test_breaker_opened_in_one_process_is_known_to_another_within_250_ms(redis_url: str) -> None:
    on = Router.from_config(state=redis_url, sink=Recorder())

    with _program("report_failures", redis_url, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as replica:
        delays = [_seen_after(on, replica) for _ in range(ROUNDS)]
        replica.communicate()

    on.close()
    assert statistics.median(delays) <= EVERYWHERE_S


@contextmanager
def _stalls() -> Iterator[list[float]]:
    """How late a thread that waits for nothing came round meanwhile: so long this machine did not go on."""
    gaps, ended = [0.0], threading.Event()

    def look() -> None:
        last = time.monotonic()
        while not ended.wait(0.005):
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield gaps
    finally:
        ended.set()
        thread.join()


@OUTAGES
def test_deciding_goes_on_without_the_server_and_waits_for_nothing(
    mortal_redis: RedisServer, on: Router, sink: Recorder, begin: Step, end: Step
) -> None:
    first = decided(on).expert_id
    report(on, first, success=False, times=5)
    on._boards.refresh(force=True)
    second = decided(on).expert_id
    assert second != first
    begin(mortal_redis)

    slowest = 0.0
    with _stalls() as stalls:
        while not _lost(on):
            began = time.monotonic()
            assert decided(on).expert_id == second
            slowest = max(slowest, time.monotonic() - began)

    assert slowest < WAITED_S + max(stalls)
    assert [name for name, _ in sink.events if name.startswith("state_")] == ["state_lost"]
    end(mortal_redis)


@OUTAGES
def test_server_that_is_back_is_read_again(
    mortal_redis: RedisServer, on: Router, sink: Recorder, begin: Step, end: Step
) -> None:
    first = decided(on).expert_id
    begin(mortal_redis)
    until(lambda: decided(on).expert_id == first and _lost(on))
    end(mortal_redis)
    until(lambda: not _lost(on))
    store = RedisStore(mortal_redis.url, POLICY)
    store.fail(f"expert:{first}", on.clock.now(), eject_ms=60_000)

    until(lambda: decided(on).expert_id != first)

    assert [name for name, _ in sink.events if name.startswith("state_")] == ["state_lost", "state_back"]
    store.close()


def test_what_was_learned_before_the_crash_is_known_after_it(mortal_redis: RedisServer, on: Router) -> None:
    first = decided(on).expert_id
    report(on, first, success=False, times=5)
    on.pin("command-r", task="audit", reason="tried")

    mortal_redis.restart()

    again = Router.from_config(state=mortal_redis.url, sink=Recorder())
    assert rules(decided(again))[first] == "circuit_open"
    assert decided(again, task="audit").expert_id == "command-r"
    again.close()


def test_decisions_made_meanwhile_are_stored_afterwards(mortal_redis: RedisServer, on: Router) -> None:
    decided(on)
    mortal_redis.kill()
    made = [decided(on).decision_id for _ in range(20)]
    with pytest.raises(StateError, match="not stored"):
        on.log.flush()
    mortal_redis.start()
    on.log.flush()

    again = Router.from_config(state=mortal_redis.url, sink=Recorder())
    assert all(again.explain(decision_id) for decision_id in made)
    again.close()


def test_router_does_not_begin_without_its_server(mortal_redis: RedisServer) -> None:
    mortal_redis.kill()

    with pytest.raises(StateError, match=rf"the state in {mortal_redis.url} can't be used"):
        Router.from_config(state=mortal_redis.url)


def test_forked_child_of_a_router_goes_on_looking(redis_url: str) -> None:
    with _program("decide_in_a_fork", redis_url) as program:
        assert program.wait(2 * PATIENCE_S) == 0
