"""An executor asks its experts in order, breakers first, and leaves no attempt untold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.expert import Expert, Transport
from crew_moe.domain.money import to_nano
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.snapshot import Circuit
from crew_moe.domain.usage import Usage
from crew_moe.errors import ExecutionFailed, StateError, UnknownExpert
from crew_moe.execution.executor import Answer, Route
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.spend import size_of
from crew_moe.execution.trail import REACTIONS, Blame, StopReason, Then
from crew_moe.state.breaker import expert_key, provider_key
from tests.execution.given import CHAT, EXPERTS, NOW, Played, Player, Stage, expert, failure, reply, route, stage, trace

DOWN = ErrorClass.SERVER


def run_sync(on: Stage, along: Route) -> Answer:
    return on.executor.run(along, CHAT)


def run_async(on: Stage, along: Route) -> Answer:
    return asyncio.run(on.executor.arun(along, CHAT))


def run_stream(on: Stage, along: Route) -> Answer:
    *_, last = on.executor.stream(along, CHAT)
    assert last.answer is not None
    return last.answer


def run_astream(on: Stage, along: Route) -> Answer:
    async def all_pieces() -> Answer:
        pieces = [piece async for piece in on.executor.astream(along, CHAT)]
        assert pieces[-1].answer is not None
        return pieces[-1].answer

    return asyncio.run(all_pieces())


Running = Callable[[Stage, Route], Answer]


@pytest.fixture(params=[run_sync, run_async, run_stream, run_astream])
def running(request: pytest.FixtureRequest) -> Running:
    """The four ways of running a route, which must not differ."""
    way: Running = request.param
    return way


def failing(running: Running, on: Stage, along: Route) -> ExecutionFailed:
    with pytest.raises(ExecutionFailed) as failed:
        running(on, along)
    assert failed.value.__context__ is None
    assert list(failed.value.attempts) == on.rows
    return failed.value


def test_chosen_expert_answers(running: Running) -> None:
    def after_a_while() -> ChatReply:
        on.clock.advance(0.25)
        return reply("Paris.", model="a-live")

    on = stage({"a": [after_a_while]})
    answer = running(on, route(numbers=count(4)))
    row = answer.attempts[0]

    assert (answer.expert_id, answer.reply.text) == ("a", "Paris.")
    assert (answer.cost_usd, answer.usage) == (Decimal("0.00007"), Usage(input_tokens=20, output_tokens=5))
    assert (row.number, row.ok, row.latency_ms, row.started_at) == (4, True, 250.0, NOW)
    assert on.rows == list(answer.attempts)


@pytest.mark.parametrize("error", [error for error in ErrorClass if REACTIONS[error].then is not Then.LARGER])
def test_failed_expert_is_followed_by_its_fallback(running: Running, error: ErrorClass) -> None:
    on = stage({"a": [failure(error, status=500)]})
    answer = running(on, route())

    assert trace(answer.attempts) == [("a", error.value), ("b", None)]
    assert on.player.calls == ["a", "b"]
    assert on.sink.events[-1][0] == "expert_switched"


def test_when_all_fail_the_error_lists_every_attempt(running: Running) -> None:
    on = stage({name: [failure(ErrorClass.CONNECTION)] for name in "abc"})
    error = failing(running, on, route())

    assert trace(error.attempts) == [("a", "connection"), ("b", "connection"), ("c", "connection")]
    assert error.reason == StopReason.EXHAUSTED


def test_open_circuit_is_a_row_and_no_call(running: Running) -> None:
    on = stage()
    on.state.fail(expert_key("a"), NOW, eject_ms=1_000.0)
    on.state.fail(provider_key("two"), NOW, eject_ms=1_000.0)
    answer = running(on, route())

    assert trace(answer.attempts) == [("a", "circuit_open"), ("b", "circuit_open"), ("c", None)]
    assert [row.detail for row in answer.attempts] == ["expert:a", "provider:two", ""]
    assert on.player.calls == ["c"]


def test_breaker_is_asked_before_the_retry_too(running: Running) -> None:
    on = stage({"a": [failure(ErrorClass.RATE_LIMIT, retry_after_ms=500.0)]})
    for _ in range(2):
        on.state.fail(expert_key("a"), NOW)
    answer = running(on, route())

    assert trace(answer.attempts) == [("a", "rate_limit"), ("a", "circuit_open"), ("b", None)]


def test_short_retry_after_is_slept_and_retried_once(running: Running) -> None:
    limited = failure(ErrorClass.RATE_LIMIT, retry_after_ms=2_000.0)
    on = stage({"a": [limited, limited]})
    answer = running(on, route())

    assert on.slept_s == [2.0]
    assert trace(answer.attempts) == [("a", "rate_limit"), ("a", "rate_limit"), ("b", None)]


def test_expert_that_is_waited_for_is_not_ejected(running: Running) -> None:
    on = stage({"a": [failure(ErrorClass.RATE_LIMIT, retry_after_ms=2_000.0)]})
    answer = running(on, route())

    assert trace(answer.attempts) == [("a", "rate_limit"), ("a", None)]
    assert list(on.sink.events) == []


def test_long_retry_after_ejects_the_expert_for_that_long(running: Running) -> None:
    on = stage({"a": [failure(ErrorClass.RATE_LIMIT, retry_after_ms=90_000.0)]})
    running(on, route())
    breaker = on.state.breakers()[expert_key("a")]

    assert on.slept_s == []
    assert breaker.until is not None
    assert (breaker.until - NOW).total_seconds() == 90.0
    assert ("circuit_open", "expert:a") in [(name, fields.get("key")) for name, fields in on.sink.events]


@pytest.mark.parametrize("error", sorted(ErrorClass))
def test_failure_counts_against_the_breakers_that_the_table_names(error: ErrorClass) -> None:
    on = stage({"a": [failure(error)]}, experts=(*EXPERTS, expert("d", "four", context_window=200_000)))
    on.executor.run(route("a", "d"), CHAT)
    breakers = on.state.breakers()
    blamed = {key for key in ("expert:a", "provider:one") if key in breakers and breakers[key].failures}

    reaction = REACTIONS[error]
    assert ("expert:a" in blamed) is (reaction.expert is not Blame.NONE)
    assert ("provider:one" in blamed) is (reaction.provider is not Blame.NONE)


def test_wrong_key_opens_the_circuit_at_once() -> None:
    on = stage({"a": [failure(ErrorClass.AUTH)]})
    on.executor.run(route(), CHAT)

    assert on.state.breakers()[expert_key("a")].state is Circuit.OPEN


def test_probe_that_the_callers_fault_ended_is_given_back(running: Running) -> None:
    on = stage({"a": [failure(ErrorClass.BAD_REQUEST)]})
    for key in (expert_key("a"), provider_key("one")):
        on.state.fail(key, NOW, eject_ms=1_000.0)
    on.clock.advance(2.0)
    running(on, route())

    assert on.state.admit(expert_key("a"), on.clock.now())
    assert on.state.admit(provider_key("one"), on.clock.now())


def test_providers_probe_goes_back_when_the_experts_circuit_is_open() -> None:
    on = stage()
    on.state.fail(provider_key("one"), NOW, eject_ms=1_000.0)
    on.state.fail(expert_key("a"), NOW, eject_ms=60_000.0)
    on.clock.advance(2.0)
    on.executor.run(route(), CHAT)

    assert on.state.admit(provider_key("one"), on.clock.now())


def test_overflow_goes_to_a_larger_window_only(running: Running) -> None:
    larger = expert("d", "four", context_window=200_000)
    on = stage({"a": [failure(ErrorClass.CONTEXT_OVERFLOW)]}, experts=(*EXPERTS, larger))
    answer = running(on, route("a", "b", "d"))

    assert trace(answer.attempts) == [("a", "context_overflow"), ("b", "context_overflow"), ("d", None)]
    assert on.player.calls == ["a", "d"]


def test_cap_on_attempts_holds(running: Running) -> None:
    on = stage({name: [failure(DOWN)] for name in "abc"})
    error = failing(running, on, route(max_attempts=2))

    assert (on.player.calls, error.reason) == (["a", "b"], StopReason.ATTEMPTS)


def test_deadline_bounds_attempts_and_ends_the_trail(running: Running) -> None:
    def slow() -> ChatReply:
        on.clock.advance(on.player.timeouts_s[-1])
        raise failure(ErrorClass.TIMEOUT)

    on = stage({name: [slow] for name in "abc"})
    error = failing(running, on, route(deadline=15.0))

    assert on.player.timeouts_s == [10.0, 5.0]
    assert (trace(error.attempts), error.reason) == ([("a", "timeout"), ("b", "timeout")], StopReason.DEADLINE)


def test_timeout_that_the_deadline_had_shortened_blames_nobody() -> None:
    on = stage({"a": [failure(ErrorClass.TIMEOUT)]})
    on.executor.run(route(deadline=5.0), CHAT)

    assert expert_key("a") not in on.state.breakers()


def test_attempt_has_two_minutes_when_nobody_says_how_long() -> None:
    on = stage()
    on.executor.run(route(attempt_timeout_ms=None), CHAT)

    assert on.player.timeouts_s == [120.0]


def test_request_is_sent_with_the_output_that_the_budget_pays_for() -> None:
    on = stage()
    bound_nano = 1_000 * 1_000  # the input is far below a thousand tokens
    on.executor.run(route(budget_nano=bound_nano), CHAT)
    (sent,) = on.player.requests

    assert sent.max_output_tokens is not None
    assert 10 <= sent.max_output_tokens < 100
    assert replace(sent, max_output_tokens=None) == CHAT


def test_expert_beyond_the_budget_is_skipped_with_a_row(running: Running) -> None:
    free = expert("free", "four", input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))
    on = stage(experts=(*EXPERTS, free))
    answer = running(on, route("a", "free", budget_nano=1))

    assert trace(answer.attempts) == [("a", "over_budget"), ("free", None)]
    assert answer.attempts[0].detail == "task:t1 has $0.000000001 left of $0.000000001"
    assert on.player.calls == ["free"]


def test_unknown_price_of_a_sent_failure_is_taken_from_the_budget_at_its_worst(running: Running) -> None:
    on = stage({"a": [failure(ErrorClass.TIMEOUT, sent=True)]})
    error = failing(running, on, route("a", "b", budget_nano=200_000))

    assert trace(error.attempts) == [("a", "timeout"), ("b", "over_budget")]
    assert error.reason == StopReason.BUDGET


@pytest.mark.parametrize(
    ("failed", "unsettled"),
    [
        (failure(ErrorClass.TIMEOUT, sent=False), False),
        (failure(ErrorClass.TIMEOUT, status=408), False),
        (failure(ErrorClass.RATE_LIMIT, status=429), False),
        (failure(ErrorClass.SERVER, status=503), True),
        (failure(ErrorClass.CONNECTION), True),
        (failure(ErrorClass.MALFORMED), True),
        (failure(ErrorClass.SKIPPED), True),
        (failure(ErrorClass.SKIPPED, sent=False), False),
        (failure(ErrorClass.MALFORMED, usage=Usage(input_tokens=20)), False),
    ],
)
def test_only_what_may_have_cost_is_unsettled(failed: Played, unsettled: bool) -> None:
    answer = stage({"a": [failed]}).executor.run(route(), CHAT)

    assert (answer.unsettled_usd > 0) is unsettled


def test_failure_that_told_its_usage_is_charged() -> None:
    on = stage({"a": [failure(ErrorClass.REFUSED, usage=Usage(input_tokens=100, output_tokens=1))]})
    answer = on.executor.run(route(), CHAT)

    assert [row.cost_usd for row in answer.attempts] == [Decimal("0.00011"), Decimal("0.00007")]
    assert answer.usage == Usage(input_tokens=120, output_tokens=6)
    assert answer.cost_usd == Decimal("0.00018")


def test_missing_usage_is_estimated_and_said(running: Running) -> None:
    on = stage({"a": [ChatReply(text="x" * 40)]})
    answer = running(on, route())

    assert answer.attempts[0].detail == "usage estimated"
    assert answer.usage.output_tokens == 10
    assert answer.reply.usage == answer.usage
    assert answer.cost_usd > 0


def test_unknown_expert_is_an_error_before_any_call(running: Running) -> None:
    on = stage()
    with pytest.raises(UnknownExpert, match="did you mean 'a'"):
        running(on, route("a", "aa"))

    assert on.player.calls == []


def test_transport_without_a_client_is_passed_over() -> None:
    on = stage(experts=(expert("a", transport=Transport.NATIVE), *EXPERTS[1:]))
    answer = on.executor.run(route(), CHAT)

    assert trace(answer.attempts) == [("a", "skipped"), ("b", None)]
    assert "native" in answer.attempts[0].detail


class Broken(Exception):
    """A fault of a client's own."""


def test_probe_and_row_are_not_lost_when_a_client_breaks(running: Running) -> None:
    on = stage({"a": [Broken()]})
    on.state.fail(expert_key("a"), NOW, eject_ms=1_000.0)
    on.clock.advance(2.0)
    with pytest.raises(Broken):
        running(on, route())

    assert on.state.admit(expert_key("a"), on.clock.now())
    assert [(row.expert_id, row.detail) for row in on.rows] == [("a", "given up by the caller")]


class Hanging(Player):
    """Never answers."""

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:  # noqa: ARG002
        self.calls.append(expert.expert_id)
        return await asyncio.Future[ChatReply]()


async def test_cancelled_call_gives_its_probe_back() -> None:
    on = Stage(player=Hanging())
    on.state.fail(expert_key("a"), NOW, eject_ms=1_000.0)
    on.clock.advance(2.0)
    task = asyncio.create_task(on.executor.arun(route(), CHAT))
    await asyncio.sleep(0)
    assert on.player.calls == ["a"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    assert on.state.admit(expert_key("a"), on.clock.now())


def test_store_that_fails_after_the_call_does_not_lose_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise StateError("the disk is full")

    on = stage()
    monkeypatch.setattr(on.state, "succeed", broken)

    assert on.executor.run(route(), CHAT).expert_id == "a"
    assert on.sink.events[-1] == ("state_failed", {"key": "expert:a", "error": "the disk is full"})


FAILURES = st.builds(
    CallFailed,
    st.sampled_from(sorted(ErrorClass)),
    sent=st.booleans(),
    status=st.sampled_from([None, 400, 429, 500]),
    retry_after_ms=st.none() | st.just(100.0),
)


@given(budget_nano=st.integers(0, 10**7), fails=st.lists(st.lists(FAILURES, max_size=2), min_size=3, max_size=3))
def test_whatever_fails_the_budget_holds(budget_nano: int, fails: list[list[Played]]) -> None:
    def all_of_it() -> ChatReply:
        request = on.player.requests[-1]
        assert request.max_output_tokens is not None
        usage = Usage(input_tokens=size_of(request).bound, output_tokens=request.max_output_tokens)
        return ChatReply(text="x", usage=usage)

    on = stage({name: [*failed, all_of_it] for name, failed in zip("abc", fails, strict=True)})
    try:
        answer = on.executor.run(route(budget_nano=budget_nano), CHAT)
    except ExecutionFailed:
        return
    assert to_nano(answer.cost_usd + answer.unsettled_usd) == on.spent() <= budget_nano


def test_closing_the_executor_closes_its_clients() -> None:
    on = stage()
    on.executor.close()

    assert on.player.closed
