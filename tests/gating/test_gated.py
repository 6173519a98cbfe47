"""Any Python function behind the gate."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from crew_moe.domain.expert import Tier
from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.errors import CrewMoEError, InvalidInput
from crew_moe.gating.checks import cooldown, has_any_role, max_concurrency, needs_approval
from crew_moe.gating.consequence import downgrade
from crew_moe.gating.gated import GateDenied, GateDowngraded, GateHeld, gated, said
from tests.gating.given import LEAD, Stage, call


def asking(prompt: str) -> GateContext:
    return call(digest=f"d-{prompt}")


def test_allowed_function_runs_as_ever() -> None:
    @gated(Stage(checks=[has_any_role("dev")]).keeper, context=asking)
    def answer(prompt: str) -> str:
        return f"{prompt}!"

    assert answer("hello") == "hello!"
    assert answer.__name__ == "answer"


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        (Stage(checks=[has_any_role("lead")]), GateDenied),
        (Stage(checks=[has_any_role("lead", otherwise=downgrade())]), GateDowngraded),
        (Stage(checks=[needs_approval()]), GateHeld),
    ],
)
async def test_refused_function_does_not_run(stage: Stage, error: type[CrewMoEError]) -> None:
    ran: list[str] = []

    @gated(stage.keeper, context=asking)
    def answer(prompt: str) -> None:
        ran.append(prompt)

    @gated(stage.keeper, context=asking)
    async def aanswer(prompt: str) -> None:
        ran.append(prompt)

    with pytest.raises(error, match="o1: "):
        answer("hello")
    with pytest.raises(error):
        await aanswer("hello")
    assert ran == []


@pytest.mark.parametrize("wait_s", [0.0, 30.0])
async def test_function_whose_caller_left_before_it_began_has_no_place(wait_s: float) -> None:
    stage = Stage(checks=[max_concurrency(1)])
    reached, go_on, done = threading.Event(), threading.Event(), threading.Event()
    take = stage.meters.take

    def slow(*demands: Any, **fields: Any) -> Any:
        reached.set()
        assert go_on.wait(10)
        found = take(*demands, **fields)
        done.set()
        return found

    @gated(stage.keeper, context=asking, wait_s=wait_s)
    async def answer(prompt: str) -> str:
        return prompt

    stage.meters.take = slow  # type: ignore[method-assign]  # a server that takes its time
    left = asyncio.create_task(answer("one"))
    await asyncio.to_thread(reached.wait, 10)
    left.cancel()
    await asyncio.sleep(0.01)  # so that it has heard of it
    go_on.set()
    await asyncio.gather(left, return_exceptions=True)

    assert left.cancelled()
    assert await asyncio.to_thread(done.wait, 10)
    assert await answer("two") == "two"


def test_failing_function_frees_its_place() -> None:
    stage = Stage(checks=[max_concurrency(1), cooldown(2, 60)])

    @gated(stage.keeper, context=asking)
    def answer(prompt: str) -> str:
        raise ValueError(prompt)

    for _ in range(2):
        with pytest.raises(ValueError, match="hello"):
            answer("hello")
    with pytest.raises(GateDenied, match="again in 30 s"):
        answer("hello")


async def test_cancelled_function_frees_its_place() -> None:
    stage = Stage(checks=[max_concurrency(1)])
    started = asyncio.Event()

    @gated(stage.keeper, context=asking)
    async def answer(prompt: str) -> str:
        started.set()
        await asyncio.Event().wait()
        return prompt

    task = asyncio.create_task(answer("hello"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert stage.keeper.admit(call()).allowed


def test_context_that_can_not_be_made_stops_the_function() -> None:
    def broken(prompt: str) -> GateContext:
        raise LookupError(prompt)

    @gated(Stage().keeper, context=broken)
    def answer(prompt: str) -> str:
        return prompt

    with pytest.raises(LookupError):
        answer("hello")


class Eager:
    """An approver that answers at once."""

    def __init__(self, stage: Stage, *, approve: bool) -> None:
        self._stage, self._approve = stage, approve

    def asked(self, approval: Any) -> None:
        self._stage.desk.answer(approval.id, approve=self._approve, by=LEAD)


@pytest.mark.parametrize("approve", [True, False])
async def test_held_function_waits_for_its_answer(approve: bool) -> None:
    stage = Stage(checks=[needs_approval()])
    stage.desk.attach(Eager(stage, approve=approve))

    @gated(stage.keeper, context=asking, wait_s=30)
    def answer(prompt: str) -> str:
        return prompt

    @gated(stage.keeper, context=asking, wait_s=30)
    async def aanswer(prompt: str) -> str:
        return prompt

    if approve:
        assert (answer("one"), await aanswer("two")) == ("one", "two")
    else:
        with pytest.raises(GateDenied, match="denied by lena"):
            answer("one")
        with pytest.raises(GateDenied, match="denied by lena"):
            await aanswer("two")


def test_generators_are_refused() -> None:
    def several(prompt: str) -> Iterator[str]:
        yield prompt

    async def later(prompt: str) -> AsyncIterator[str]:
        yield prompt

    with pytest.raises(InvalidInput, match="generator"):
        gated(Stage().keeper, context=asking)(several)
    with pytest.raises(InvalidInput, match="generator"):
        gated(Stage().keeper, context=asking)(later)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict(ruling=Ruling.ALLOW), "allowed"),
        (Verdict(ruling=Ruling.DENY, check="a", reason="no", retry_after_s=3.0), "denied, again in 3 s (a: no)"),
        (Verdict(ruling=Ruling.HOLD, check="a", reason="no", approval_id="x7"), "waits for approval x7 (a: no)"),
        (
            Verdict(ruling=Ruling.DOWNGRADE, tier=Tier.FAST, check="a", reason="no"),
            "goes on with a fast expert (a: no)",
        ),
    ],
)
def test_verdict_is_said_in_words(verdict: Verdict, words: str) -> None:
    assert said(verdict) == words
