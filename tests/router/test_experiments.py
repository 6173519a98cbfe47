"""Experiments on real routers: who decides for whom, who wins, what is stopped, and that the shadow changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from crew_moe import Completion, Decision, Feedback, InvalidInput, Outcome, Router, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.domain.digest import digest
from crew_moe.errors import ConfigError, StateError
from crew_moe.learning.experiment import Arm, Moments, Verdict, Wanted
from crew_moe.learning.experiment.plan import Assignment
from crew_moe.sim import simulate
from crew_moe.telemetry.events import Recorder
from tests.routing.given import NOW

CHEAP: Final = "weights: {cost: 90, quality: 5}\n"
Clocked = tuple[Router, ManualClock]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return ":memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture(autouse=True)
def _dealt_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sessions are in the same arms in every run of the tests."""
    monkeypatch.setattr("crew_moe.experiments.new_salt", lambda: "salt")


@pytest.fixture
def opened() -> Iterator[list[Router]]:
    routers: list[Router] = []
    yield routers
    for router in routers:
        router.close()


def _router(opened: list[Router], url: str = ":memory:", **options: Any) -> Router:
    router = Router.from_config(state=url, sink=Recorder(), clock=ManualClock(NOW), **options)
    opened.append(router)
    return router


def _start(on: Router, **fields: Any) -> None:
    wanted = Wanted(**{"name": "cheap", "candidate": CHEAP, "mde": 0.1, **fields})
    on.experiments.start(wanted)


def _decided(on: Router, session: str, **fields: Any) -> tuple[Decision, dict[str, Any]]:
    made = on.decide(RoutingRequest(**{"task_type": "planning", "session_key": session, **fields}))
    assert isinstance(made, Decision)
    return made, dict(on.outcomes.decision(made.decision_id))


def _run(on: Router, rates: dict[str, float], count: int) -> int:
    """Decisions with outcomes at these rates by arm, until the experiment ends; how many that were."""
    rng = Random(3)
    for number in range(count):
        made, row = _decided(on, f"session {number}")
        if "experiment" not in row:
            return number
        good = rng.random() < rates[row["experiment"]["arm"]]
        on.record(Outcome(decision_id=made.decision_id, expert_id=made.expert_id, success=good, latency_ms=100.0))
    return count


def _events(on: Router) -> list[tuple[str, dict[str, Any]]]:
    sink = on.sink
    assert isinstance(sink, Recorder)
    return [event for event in sink.events if event[0].startswith("experiment")]


def test_each_arm_decides_by_its_own_policy_and_rows_tell_it(opened: list[Router], url: str) -> None:
    on, plain = _router(opened, url), _router(opened)
    _start(on)

    rows = [_decided(on, f"session {number}")[1] for number in range(40)]

    by_arm = {row["experiment"]["arm"]: row for row in rows}
    assert by_arm.keys() == set(Arm)
    assert by_arm["control"]["policy_version"] == on.policy.version != by_arm["candidate"]["policy_version"]
    assert by_arm["control"]["expert_id"] == _decided(plain, "s")[1]["expert_id"] != by_arm["candidate"]["expert_id"]
    assert all(on.explain(row["decision_id"]).matches for row in rows)


def test_sessions_keep_their_arm_on_every_router_over_the_store(opened: list[Router], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    one = _router(opened, url)
    _start(one)
    other = _router(opened, url)

    sessions = [f"session {number}" for number in range(30)] * 2
    told = [{_decided(on, session)[1]["experiment"]["arm"] for session in sessions} for on in (one, other)]
    pairs = [
        (_decided(one, session)[1]["experiment"], _decided(other, session)[1]["experiment"]) for session in sessions
    ]

    assert told == [set(Arm), set(Arm)]
    assert all(first == second for first, second in pairs)


def test_better_candidate_wins_and_everybody_stays_where_they_are(opened: list[Router]) -> None:
    on = _router(opened)
    _start(on, guardrails={"violations": 0.05, "infeasible": 0.05})

    assert _run(on, {"control": 0.4, "candidate": 0.9}, 400) == 400

    told = on.experiments.trials.told("cheap")
    assert (told.trial.verdict, told.trial.because, told.trial.running) == (Verdict.CANDIDATE_WINS, "reward", True)
    assert [name for name, _ in _events(on)] == ["experiment_started", "experiment_won"]
    assert sum(told.tally.of(arm, "success").n for arm in Arm) == 400
    assert on.policy.version == told.trial.experiment.control_version


def test_harmful_candidate_is_stopped_everywhere_at_once(opened: list[Router], url: str) -> None:
    on = _router(opened, url)
    _start(on)
    other = _router(opened, url) if url != ":memory:" else on
    assert other.learner.trials.running is not None  # from its first decision on

    stopped = _run(on, {"control": 0.9, "candidate": 0.2}, 400)

    assert 100 <= stopped < 250
    told = on.experiments.trials.told("cheap")
    assert (told.trial.verdict, told.trial.because, told.trial.ended_at) == (Verdict.HARMED, "success", NOW)
    assert _events(on)[-1] == ("experiment_stopped", {"experiment": "cheap", "verdict": "harmed", "because": "success"})
    other.learner.trials.look()
    rows = [_decided(other, f"session {number}")[1] for number in range(20)]
    assert {row["policy_version"] for row in rows} == {on.policy.version}


def test_shadow_changes_nothing_but_the_row(opened: list[Router], url: str) -> None:
    on, plain = _router(opened, url), _router(opened)
    _start(on, mode="shadow")
    kinds = ("planning", "analysis", "code_review")

    found = [_decided(on, f"s{number}", task_type=kinds[number % 3]) for number in range(30)]
    expected = [_decided(plain, f"s{number}", task_type=kinds[number % 3]) for number in range(30)]

    assert [one.expert_id for one, _ in found] == [one.expert_id for one, _ in expected]
    assert all(on.explain(row["decision_id"]).matches for _, row in found)
    agreed = sum(row["experiment"]["shadow"]["expert_id"] == row["expert_id"] for _, row in found)
    told = {one.metric: one for one in on.experiments.trials.told("cheap").standing.shadow}
    assert told["agreement"].n == 30
    assert told["agreement"].mean.estimate == pytest.approx(agreed / 30)
    assert told["predicted_cost"].mean.estimate < 0.0


def test_each_decision_counts_once_however_much_is_told_of_it(opened: list[Router]) -> None:
    on = _router(opened)
    _start(on)
    made, row = _decided(on, "s")
    failed = Outcome(decision_id=made.decision_id, expert_id=made.expert_id, success=False, cost_usd="0.25")

    for outcome in (failed, failed, failed.model_copy(update={"attempt": 2, "success": True})):
        on.record(outcome)
    for source in ("a", "b", "b"):
        on.feedback(Feedback(decision_id=made.decision_id, source=source, quality=0.5))

    tally, arm = on.experiments.trials.told("cheap").tally, Arm(row["experiment"]["arm"])
    assert {name: tally.of(arm, name).n for name in ("reward", "success", "cost", "quality")} == dict.fromkeys(
        ("reward", "success", "cost", "quality"), 1.0
    )
    assert (tally.of(arm, "success").mean, tally.of(arm, "cost").mean, tally.of(arm, "quality").mean) == (1.0, 0.5, 0.5)


def test_requests_that_nobody_may_serve_are_counted(opened: list[Router]) -> None:
    on = _router(opened)
    _start(on, share=0.999)
    for number in range(10):
        on.decide(RoutingRequest(task_type="planning", session_key=f"s{number}", min_quality=1.0))

    tally = on.experiments.trials.told("cheap").tally

    assert sum(tally.of(arm, "infeasible").total for arm in Arm) == 10
    assert sum(tally.of(arm, "success").n for arm in Arm) == 0


def test_results_show_by_cohort(opened: list[Router]) -> None:
    on = _router(opened)
    _start(on, by="task_type")
    for number, kind in enumerate(("planning", "analysis", "planning")):
        made, _ = _decided(on, f"s{number}", task_type=kind)
        on.record(Outcome(decision_id=made.decision_id, expert_id=made.expert_id, success=True))

    tally = on.experiments.trials.told("cheap").tally

    assert set(tally.cohorts) == {"planning", "analysis"}
    assert sum(tally.of(arm, "success", "planning").n for arm in Arm) == 2


def test_router_with_another_policy_takes_no_part(opened: list[Router], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    _start(_router(opened, url))
    (tmp_path / "policy.yaml").write_text("weights: {quality: 51}\n", encoding="utf-8")

    other = _router(opened, url, config=tmp_path)

    assert "experiment" not in _decided(other, "s")[1]
    assert [name for name, _ in _events(other)] == ["experiment_passed_over"]


def test_request_for_a_profile_that_the_candidate_lacks_stays_outside(opened: list[Router], tmp_path: Path) -> None:
    profiles = "profiles: {brief: {version: '1', expert: gpt-4o}}\n"
    (tmp_path / "policy.yaml").write_text(profiles, encoding="utf-8")
    on = _router(opened, config=tmp_path)
    _start(on, share=0.999)

    assert "experiment" not in _decided(on, "s", profile="brief")[1]
    assert "experiment" in _decided(on, "s")[1]


def test_stopped_experiment_is_over_and_its_rows_stay_explainable(opened: list[Router]) -> None:
    on = _router(opened)
    _start(on, share=0.999, candidate="strategy: linucb\n")
    made, row = _decided(on, "s")
    assert row["strategy"] == "linucb"

    on.experiments.trials.stop("cheap", winner="control")

    assert "experiment" not in _decided(on, "s")[1]
    assert on.record(Outcome(decision_id=made.decision_id, expert_id=made.expert_id, success=True))
    assert on.explain(made.decision_id).matches
    assert on.experiments.trials.named("cheap").winner == "control"
    with pytest.raises(InvalidInput, match="has ended already"):
        on.experiments.trials.stop("cheap")


def test_late_counts_of_one_experiment_leave_the_next_one_running(opened: list[Router], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    on, other = _router(opened, url), _router(opened, url)
    _start(on)
    other.learner.trials.look()
    running = other.learner.trials.running
    assert running is not None
    for number in range(400):
        arm = tuple(Arm)[number % 2]
        harmed = float(arm is Arm.CANDIDATE)
        other.learner.trials.decided(running, Assignment(arm, number // 2 % 32), {"infeasible": harmed})
    on.experiments.trials.stop("cheap")
    _start(on, name="next")
    other.learner.trials.look()

    other.learner.trials.write()

    running = other.learner.trials.running
    assert running is not None
    assert running.experiment.name == "next"
    told = other.learner.trials.told("cheap")
    assert (told.trial.verdict, told.standing.verdict) == (Verdict.OPEN, Verdict.HARMED)


def test_lost_store_stops_nobody_from_deciding(opened: list[Router], mortal_redis: Any) -> None:
    on = _router(opened, mortal_redis.url)
    _start(on)
    made, row = _decided(on, "s")
    mortal_redis.kill()

    on.learner.trials.served(row, {"expert_id": made.expert_id, "success": True})
    on.learner.trials.look()

    assert on.decide(RoutingRequest(task_type="planning", session_key="s")).ok
    assert {name for name, _ in _events(on)} == {
        "experiment_started",
        "experiment_not_counted",
        "experiment_not_read",
    }


def test_calls_of_ones_own_are_counted_with_all_their_attempts(opened: list[Router]) -> None:
    with simulate(speed=0) as sim:
        on = _router(opened, base_url=sim.base_url)
        _start(on)
        first = _decided(on, "s")[0]
        sim.kill(on.registry[first.expert_id].provider)
        done = on.complete(RoutingRequest(task_type="planning", session_key="s", text="Plan it"))

    assert isinstance(done, Completion)
    assert [attempt.ok for attempt in done.attempts][-1:] == [True]
    assert len(done.attempts) > 1
    row = on.outcomes.decision(done.decision_id)
    tally, arm = on.experiments.trials.told("cheap").tally, Arm(row["experiment"]["arm"])
    assert (tally.of(arm, "success"), tally.of(arm, "violations").mean) == (Moments(1.0, 1.0, 1.0), 0.0)
    assert tally.of(arm, "cost").mean == pytest.approx(float(done.cost_usd))
    assert tally.of(arm, "latency").mean == pytest.approx(sum(one.latency_ms for one in done.attempts), abs=0.1)


def test_batches_stay_outside(opened: list[Router]) -> None:
    on = _router(opened)
    _start(on, share=0.999)

    (decision,) = on.decide_batch([RoutingRequest(task_type="planning", session_key="s")])

    row = on.outcomes.decision(decision.decision_id)
    assert row["policy_version"] == on.policy.version
    assert on.record(Outcome(decision_id=decision.decision_id, expert_id=row["expert_id"], success=True))
    assert on.experiments.trials.told("cheap").tally.empty


def test_a_voice_counts_in_an_experiment_as_far_as_it_may(opened: list[Router]) -> None:
    """One client that rates everything 1 does not stop a candidate."""
    on = _router(opened)
    _start(on)
    for number in range(200):
        made, row = _decided(on, f"session {number}")
        on.record(Outcome(decision_id=made.decision_id, expert_id=made.expert_id, success=True))
        if row["experiment"]["arm"] == "candidate":
            on.feedback(Feedback(decision_id=made.decision_id, source="client-7", rating=1))

    told = on.experiments.trials.told("cheap")

    assert told.trial.verdict is Verdict.OPEN
    assert told.tally.of(Arm.CANDIDATE, "reward").mean > 0.9


@pytest.mark.parametrize(
    ("fields", "error", "told"),
    [
        ({"candidate": ""}, InvalidInput, "nothing to try"),
        ({"candidate": "strategi: score"}, ConfigError, "unknown field 'strategi'"),
        ({"name": "Has Blanks"}, InvalidInput, "NAME: 'Has Blanks' is no name"),
        ({"metric": "rewards"}, InvalidInput, "did you mean 'reward'"),
        ({"mode": "ba"}, InvalidInput, "--mode"),
        ({"by": "task"}, InvalidInput, "did you mean 'task_type'"),
        ({"guardrails": {"sucess": 0.1}}, InvalidInput, "did you mean 'success'"),
        ({"guardrails": {"success": 0.0}}, InvalidInput, "--guardrail success: 0 is out of range"),
        ({"share": 1.0}, InvalidInput, "--share: 1 is out of range"),
        ({"mde": float("nan")}, InvalidInput, "--mde"),
        ({"min_samples": 49}, InvalidInput, "--min-samples: 49 is too few"),
    ],
)
def test_what_makes_no_experiment_is_refused(
    opened: list[Router], fields: dict[str, Any], error: type[InvalidInput], told: str
) -> None:
    on = _router(opened)

    with pytest.raises(error, match=told):
        _start(on, **fields)
    assert on.experiments.trials.all() == ()


def test_units_say_nothing_of_who_asked(opened: list[Router]) -> None:
    """A row holds the number of one of a few units, which many keys share."""
    on = _router(opened)
    _start(on)

    units = {_decided(on, f"s{number}")[1]["experiment"]["unit"] for number in range(300)}

    assert units == set(range(32))
    assert digest("s0").hex() not in str(_decided(on, "s0")[1]["experiment"])


def test_a_candidate_that_is_a_bandit_looks_no_more_once_the_router_is_closed(redis_url: str) -> None:
    def looking() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == "crew-moe-learning"}

    before, on = looking(), _router([], redis_url)
    _start(on, candidate="strategy: linucb\n")
    arms = {_decided(on, f"session {number}")[1]["experiment"]["arm"] for number in range(20)}
    assert "candidate" in arms
    assert looking() - before

    on.close()
    assert not looking() - before


def test_decisions_seldom_wait_for_a_store_that_is_slow_to_count(
    opened: list[Router], monkeypatch: pytest.MonkeyPatch
) -> None:
    on, clock, tries = _router(opened), ManualClock(NOW), list[float]()
    trials = on.learner.trials
    monkeypatch.setattr(trials, "_clock", clock)

    def locked(*_: Any) -> None:
        tries.append(clock.monotonic())
        clock.advance(5.0)
        raise StateError("database is locked")

    monkeypatch.setattr(trials, "_count", locked)
    _start(on)
    for number in range(60):
        _decided(on, f"session {number}")
        trials.look()
        clock.advance(2.0)

    assert len(tries) == 1
