"""The whole loop, on every store: what is said of answers changes who answers next, in the documented way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from crew_moe import Decision, Feedback, Outcome, Router, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.learning.arm_pages import OF
from crew_moe.learning.arms import Arm
from crew_moe.sim import simulate
from crew_moe.state.performance import ALPHA
from crew_moe.telemetry.events import Recorder
from tests.redis_server import RedisServer
from tests.state.given import NOW
from tests.waiting import until

FIRST, SECOND = "gemini-2.5-flash-lite", "mistral-small-4"
FEW = f"access: [{{name: two, only: {{ids: [{FIRST}, {SECOND}]}}}}]\n"
SCORE = FEW + "exploration: {rate: 0.4}\n"
BANDIT = FEW + "strategy: epsilon_greedy\nlearning: {bandit: {epsilon: 0.2, half_life: 30}}\n"
LOST_WITHIN = 40  # rounds; as the runbook has it
BACK_WITHIN = 120
WAITED_S = 0.9  # less than a decision takes that waits for a server that hangs

Open = Callable[..., Router]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    return here.get(request.param) or str(request.getfixturevalue("redis_url"))


SHARED = pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)  # those that outlive a process
LONG = [  # where a round waits for a disk or a server
    "memory",
    *(pytest.param(name, marks=pytest.mark.accept) for name in ("sqlite", "redis")),
]


@pytest.fixture
def open_router(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens routers of one policy over one store."""
    monkeypatch.setenv("CREW_MOE_LOG_KEY", "k" * 32)
    clock = ManualClock(NOW)
    with ExitStack() as opened:

        def made(policy: str) -> Router:
            (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")
            return opened.enter_context(Router.from_config(tmp_path, state=url, clock=clock, sink=Recorder()))

        yield made


def _settle(on: Router) -> None:
    """Time passes, and what others wrote has been read."""
    assert isinstance(on.clock, ManualClock)
    on.clock.advance(1.0)
    on.stats()
    on.learner.begin(on.registry)


def _decide(on: Router, number: int = 0, **fields: Any) -> Decision:
    _settle(on)
    fields = {"task_type": "planning", "text": f"Plan {number}", "seed": number, **fields}
    found = on.decide(RoutingRequest(**fields))
    assert isinstance(found, Decision)
    return found


def _rounds(on: Router, count: int, bad: str | None, *, source: str = "client") -> list[str]:
    """Who served, with everybody's judgement: 0.9, and 0.1 of the one that is bad."""
    served = []
    for number in range(count):
        decision = _decide(on, number)
        quality = 0.1 if decision.expert_id == bad else 0.9
        on.feedback(Feedback(decision_id=decision.decision_id, source=f"{source}-{number}", quality=quality))
        served.append(decision.expert_id)
    return served


def _share(served: list[str], expert_id: str) -> float:
    return served.count(expert_id) / len(served)


def _learned(on: Router, expert_id: str) -> float:
    found = on.state.performance(on.clock.now()).get((expert_id, "planning"))
    return 0.5 if found is None or found.learned is None else found.learned


@pytest.mark.parametrize("url", LONG, indirect=True)
@pytest.mark.parametrize("policy", [SCORE, BANDIT], ids=["score", "bandit"])
def test_an_expert_that_drifts_loses_its_share_and_regains_it(open_router: Open, policy: str) -> None:
    on = open_router(policy)
    before = _rounds(on, 20, None)
    best = max({FIRST, SECOND}, key=before.count)

    lost = _rounds(on, LOST_WITHIN, best)
    back = _rounds(on, BACK_WITHIN, FIRST if best == SECOND else SECOND)

    assert _share(before, best) > 0.6
    assert _share(lost[-15:], best) < 0.4
    assert _share(back[-15:], best) > 0.6


@SHARED
@pytest.mark.parametrize("policy", [SCORE, BANDIT], ids=["score", "bandit"])
def test_a_restart_keeps_what_was_learned(open_router: Open, policy: str) -> None:
    first = open_router(policy)
    _rounds(first, 8, FIRST)
    before = _decide(first, 7)
    learned, means = _learned(first, SECOND), _means(first, before)
    first.close()

    again = open_router(policy)
    after = _decide(again, 7)

    assert _learned(again, SECOND) == learned != 0.5
    assert (after.expert_id, after.propensity) == (before.expert_id, before.propensity)
    assert _means(again, after) == means


@SHARED
def test_two_routers_over_one_store_learn_together(open_router: Open) -> None:
    ours, theirs = open_router(BANDIT), open_router(BANDIT)
    before = _decide(ours)
    chosen = before.expert_id
    ours.log.flush()

    theirs.feedback(Feedback(decision_id=before.decision_id, source="a", quality=0.0))
    after = _decide(ours)

    assert _means(ours, after)[chosen] < _means(ours, before)[chosen]
    assert ours.explain(after.decision_id).matches


def _means(on: Router, decision: Decision) -> dict[str, float]:
    """The rewards that were predicted when it was decided; none by `score`."""
    row = on.outcomes.decision(decision.decision_id)
    return dict((row.get("insight") or {}).get("mean", {}))


def _mean(on: Router, expert_id: str) -> float:
    return _means(on, _decide(on))[expert_id]


def test_parts_that_come_days_apart_count_as_one_answer(open_router: Open) -> None:
    on = open_router(BANDIT)
    decision = _decide(on)
    assert isinstance(on.clock, ManualClock)

    on.record(Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=True))
    served = _mean(on, decision.expert_id)
    on.clock.advance(3 * 86_400.0)
    on.feedback(Feedback(decision_id=decision.decision_id, source="a", rating=3))
    rated = _mean(on, decision.expert_id)
    on.feedback(Feedback(decision_id=decision.decision_id, source="b", pr_merged=True, rating=5))

    assert rated < served
    assert served == pytest.approx(_means(on, decision)[decision.expert_id])
    assert _mean(on, decision.expert_id) > rated


def test_one_client_that_rates_everything_5_is_bounded(open_router: Open) -> None:
    on = open_router(SCORE + "learning: {client_cap: 3}\n")
    decisions = [_decide(on, number, pin=FIRST) for number in range(30)]
    for number, decision in enumerate(decisions[:5]):
        on.feedback(Feedback(decision_id=decision.decision_id, source=f"honest-{number}", rating=1))
    honest = _learned(on, FIRST)

    for decision in decisions:
        assert on.feedback(Feedback(decision_id=decision.decision_id, source="poison", rating=5))

    assert honest < _learned(on, FIRST) <= honest + (1 - honest) * (1 - (1 - ALPHA) ** 3) + 1e-9


def test_feedback_says_in_the_log_what_it_counted(open_router: Open) -> None:
    on = open_router(SCORE + "learning: {client_cap: 1}\n")
    first, second = _decide(on, pin=FIRST), _decide(on, pin=FIRST)
    for decision in (first, second):
        on.feedback(Feedback(decision_id=decision.decision_id, source="a", rating=5))

    rows = [on.log.get(f"{one.decision_id}/feedback/a") for one in (first, second)]
    assert [(row["reward"], round(row["weight"], 3)) for row in rows if row] == [(1.0, 1.0), (1.0, 0.0)]


def test_a_row_of_a_batch_teaches_as_any_other(open_router: Open) -> None:
    on = open_router(BANDIT)
    batch = on.decide_batch([RoutingRequest(task_type="planning", text=f"Plan {n}", seed=n) for n in range(3)])
    first = batch[0]
    assert isinstance(first, Decision)
    before = _mean(on, first.expert_id)

    on.feedback(Feedback(decision_id=first.decision_id, source="a", quality=0.0))

    assert _mean(on, first.expert_id) < before


def test_calls_of_our_own_teach_the_arms(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(BANDIT, encoding="utf-8")
    with simulate() as sim, Router.from_config(tmp_path, state=":memory:", base_url=sim.base_url) as on:
        done = on.complete(RoutingRequest(task_type="planning", text="Plan", pin=FIRST, max_output_tokens=64))
        page = on.learner.pages.read(OF + FIRST, on.clock.now())

    assert done.ok
    assert page is not None
    assert Arm.from_bytes(page.content).seen == 1.0


@pytest.mark.accept
def test_a_bandit_goes_on_by_what_it_knew_while_the_server_hangs(mortal_redis: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(BANDIT, encoding="utf-8")
    sink = Recorder()
    with capture_logs(), Router.from_config(tmp_path, state=mortal_redis.url, sink=sink) as on:
        on.decide(RoutingRequest(task_type="planning", text="Plan"))  # from the first on a thread looks
        mortal_redis.freeze()
        slowest = 0.0
        while "learning_lost" not in [event for event, _ in sink.events]:
            began = time.perf_counter()
            found = on.decide(RoutingRequest(task_type="planning", text="Plan", user=f"u{began}"))
            slowest = max(slowest, time.perf_counter() - began)
        mortal_redis.thaw()
        until(lambda: "learning_back" in [event for event, _ in sink.events])

    assert found.ok
    assert slowest < WAITED_S
