"""Calls on an event loop that are cancelled while a store takes its time: nothing stays taken, and the loop goes on."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime
from typing import Any

import pytest

from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.execution.route import Answer
from tests.execution.given import CHAT, Player, Stage, route, stage

PATIENCE_S = 10.0


class Slow:
    """A ledger whose disk takes its time: it reserves when it is told to `go_on`."""

    def __init__(self, on: Stage) -> None:
        on.executor._blocking = True
        self.reached, self.go_on, self.done = threading.Event(), threading.Event(), threading.Event()
        self._reserve = on.ledger.reserve
        on.ledger.reserve = self.reserve  # type: ignore[method-assign]

    def reserve(self, *scopes: Any, **fields: Any) -> Any:
        self.reached.set()
        assert self.go_on.wait(PATIENCE_S)
        found = self._reserve(*scopes, **fields)
        self.done.set()
        return found


class Hanging(Player):
    """Never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def acall(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> ChatReply:  # noqa: ARG002
        self.reached.set()
        return await asyncio.Future[ChatReply]()


def started(on: Stage) -> asyncio.Task[Answer]:
    return asyncio.create_task(on.executor.arun(route("a", budget_nano=10**9), CHAT))


@pytest.mark.parametrize("times", [1, 2])
async def test_a_call_that_is_cancelled_before_it_was_sent_costs_nothing(times: int) -> None:
    on = stage()
    slow, call = Slow(on), started(on)
    await asyncio.to_thread(slow.reached.wait, PATIENCE_S)
    for _ in range(times):
        call.cancel()
        await asyncio.sleep(0.01)  # so that the call has heard of it
    slow.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert slow.done.wait(PATIENCE_S)
    assert (on.spent(), on.player.calls) == (0, [])


def test_a_call_that_its_ending_loop_cancels_before_it_was_sent_costs_nothing() -> None:
    on = stage()
    slow, calls = Slow(on), list[asyncio.Task[Answer]]()

    async def left_behind() -> None:
        calls.append(started(on))
        await asyncio.to_thread(slow.reached.wait, PATIENCE_S)
        asyncio.get_running_loop().call_later(0.01, slow.go_on.set)

    asyncio.run(left_behind())

    assert calls[0].cancelled()
    assert (on.spent(), on.player.calls) == (0, [])


async def test_a_call_that_is_given_up_does_not_keep_the_loop_from_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Hanging()
    on = Stage(player=player)
    on.executor._blocking = True
    threads, cancel = list[threading.Thread](), on.state.cancel

    def seen(key: str, now: datetime) -> Any:
        threads.append(threading.current_thread())
        return cancel(key, now)

    monkeypatch.setattr(on.state, "cancel", seen)
    call = started(on)
    async with asyncio.timeout(PATIENCE_S):
        await player.reached.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    assert threads
    assert threading.current_thread() not in threads
