"""Calls that nobody wants any more: not made, not waited for, and nothing stays taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.route import Route
from crew_moe.execution.trail import StopReason
from tests.execution.given import CHAT, Stage, failure, reply, route, stage, trace

LIMITED = failure(ErrorClass.RATE_LIMIT, retry_after_ms=2_000.0)


@pytest.fixture(params=["run", "arun"])
def calling(request: pytest.FixtureRequest) -> Callable[[Stage, Route], object]:
    """On a thread, and on an event loop."""
    if request.param == "run":
        return lambda on, along: on.executor.run(along, CHAT)
    return lambda on, along: asyncio.run(on.executor.arun(along, CHAT))


def called_off(calling: Callable[[Stage, Route], object], on: Stage, along: Route) -> ExecutionFailed:
    with pytest.raises(ExecutionFailed) as failed:
        calling(on, along)
    assert failed.value.reason == StopReason.CANCELLED
    assert on.ledger.open_charges() == ()
    return failed.value


def test_no_call_is_made(calling: Callable[[Stage, Route], object]) -> None:
    on = stage()
    error = called_off(calling, on, route(budget_nano=10**9, cancelled=lambda: True))

    assert (on.player.calls, error.attempts, on.spent()) == ([], (), 0)


def test_no_fallback_is_asked(calling: Callable[[Stage, Route], object]) -> None:
    on = stage({"a": [failure(ErrorClass.AUTH)]})
    error = called_off(calling, on, route(budget_nano=10**9, cancelled=lambda: bool(on.player.calls)))

    assert trace(error.attempts) == [("a", "auth")]
    assert on.spent() == 0


def test_wait_ends_soon(calling: Callable[[Stage, Route], object]) -> None:
    on = stage({"a": [LIMITED]})
    called_off(calling, on, route(cancelled=lambda: len(on.slept_s) == 3))

    assert on.slept_s == [0.2, 0.2, 0.2]
    assert on.player.calls == ["a"]


def test_wait_that_nobody_ends_is_as_long_as_ever(calling: Callable[[Stage, Route], object]) -> None:
    on = stage({"a": [LIMITED]})
    calling(on, route(cancelled=lambda: False))

    assert sum(on.slept_s) == pytest.approx(2.0)
    assert max(on.slept_s) == 0.2
    assert on.player.calls == ["a", "a"]


def test_answer_that_came_is_kept(calling: Callable[[Stage, Route], object]) -> None:
    given: list[ChatReply] = []

    def answer() -> ChatReply:
        given.append(reply())
        return given[-1]

    on = stage({"a": [answer]})
    calling(on, route(budget_nano=10**9, cancelled=lambda: bool(given)))

    assert on.spent() > 0
