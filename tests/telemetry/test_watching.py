"""What watchers are told, and that they can do no harm."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime

from crew_moe import ExecutionFailed, Feedback, Infeasible, Outcome, Router, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.domain.happening import Attempted, BatchDecided, Decided, Happening, Noted, Reported
from crew_moe.telemetry.events import Recorder
from crew_moe.telemetry.lookout import Lookout
from tests.telemetry.happened import Witness, watched_router
from tests.waiting import until

NOW = datetime(2026, 1, 5, tzinfo=UTC)
REQUEST = RoutingRequest(task_type="planning", text="hello", tenant="acme")
PINNED = RoutingRequest(task_type="planning", text="hello", pin="gpt-4o", fallbacks=())


class Clumsy:
    def saw(self, happening: Happening) -> None:
        raise RuntimeError(type(happening).__name__)


def test_decision_is_seen_with_its_tenant() -> None:
    with watched_router() as (router, witness, _):
        decision = router.decide(REQUEST)
        refused = router.decide(REQUEST.model_copy(update={"min_quality": 1.0}))

    assert [(one.answer, one.tenant) for one in witness.of(Decided)] == [(decision, "acme"), (refused, "acme")]
    assert isinstance(refused, Infeasible)


def test_batch_is_seen_as_one() -> None:
    with watched_router() as (router, witness, _):
        decisions = router.decide_batch([REQUEST, REQUEST])

    (seen,) = witness.of(BatchDecided)
    assert (seen.answers, seen.requests, seen.strategy) == (decisions, [REQUEST, REQUEST], "score")


def test_every_attempt_is_seen_with_its_tenant() -> None:
    with watched_router() as (router, witness, sim):
        sim.kill("anthropic")
        answer = router.complete(RoutingRequest(task_type="code_generation", text="x", tenant="Acme Ltd/2"))
    assert not isinstance(answer, Infeasible)

    attempts = witness.of(Attempted)
    assert tuple(one.attempt for one in attempts) == answer.attempts
    assert {one.tenant for one in attempts} == {"Acme Ltd/2"}
    assert [one.fields["to_expert"] for one in witness.of(Noted)] == [answer.expert_id]


def test_what_others_report_is_seen() -> None:
    with watched_router() as (router, witness, _):
        decision = router.decide(REQUEST)
        assert not isinstance(decision, Infeasible)
        outcome = Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=True)
        feedback = Feedback(decision_id=decision.decision_id, source="me", quality=0.5)
        router.record(outcome)
        router.record(outcome)
        router.feedback(feedback)

    assert [one.report for one in witness.of(Reported)] == [outcome, feedback]


def test_breaker_that_opens_and_closes_is_told_once() -> None:
    with watched_router(clock=(clock := ManualClock(NOW))) as (router, witness, _):

        def report(*, success: bool) -> None:
            decision = router.decide(REQUEST)
            router.record(Outcome(decision_id=decision.decision_id, expert_id="gpt-4o", success=success))

        for _ in range(8):
            report(success=False)
        clock.advance(3600)
        report(success=True)
        report(success=True)

    changes = [(one.event, one.fields["key"]) for one in witness.of(Noted)]
    keys = ("expert:gpt-4o", "provider:openai")
    assert sorted(changes) == sorted((event, key) for key in keys for event in ("circuit_closed", "circuit_open"))


def test_breaker_that_a_call_opens_is_told_once_and_so_is_its_probe() -> None:
    with watched_router(clock=(clock := ManualClock(NOW))) as (router, witness, sim):
        sim.kill("openai")
        for _ in range(8):
            with suppress(ExecutionFailed):
                router.complete(PINNED)
        sim.revive("openai")
        clock.advance(3600)
        router.complete(PINNED)

    told = [one.event for one in witness.of(Noted) if one.fields.get("key") == "provider:openai"]
    assert told == ["circuit_open", "circuit_half_open", "circuit_closed"]


def test_watcher_that_raises_harms_nobody() -> None:
    witness = Witness()
    with Router.from_config(state=":memory:", sink=Recorder(), watchers=(Clumsy(), witness)) as router:
        decision = router.decide(REQUEST)
        router.sink.emit("something")

    assert not isinstance(decision, Infeasible)
    assert [type(one) for one in witness.seen] == [Decided, Noted]


def test_nobody_watches_where_nobody_is_named() -> None:
    sink = Recorder()
    with Router.from_config(state=":memory:", sink=sink) as router:
        assert router.sink is sink


def test_lookout_hands_everything_on_in_order() -> None:
    reader = Witness()
    lookout = Lookout((reader,))
    notes = [Noted(str(number), {}, NOW) for number in range(1000)]
    for note in notes:
        lookout.saw(note)

    until(lambda: len(reader.seen) == 1000)
    lookout.close()
    assert reader.seen == notes


def test_lookout_that_is_full_drops_and_counts() -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Stuck(Witness):
        def read(self, happenings: object) -> None:
            assert happenings
            reading.set()
            go_on.wait()

    lookout = Lookout((Stuck(),), capacity=10, pace_s=0.0)
    lookout.saw(Noted("first", {}, NOW))
    reading.wait()
    for _ in range(15):
        lookout.saw(Noted("more", {}, NOW))

    assert (lookout.waiting, lookout.dropped) == (10, 5)
    go_on.set()
    lookout.close()


def test_reader_that_raises_keeps_nothing_from_the_others() -> None:
    class Broken(Witness):
        def read(self, happenings: object) -> None:
            raise ValueError(happenings)

    reader = Witness()
    lookout = Lookout((Broken(), reader))
    lookout.saw(Noted("one", {}, NOW))
    lookout.close()
    lookout.saw(Noted("late", {}, NOW))

    assert (len(reader.seen), lookout.failed, lookout.dropped) == (1, 1, 1)
