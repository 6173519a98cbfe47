"""Many callers at once: everybody is served, and load is told apart from trouble."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from crew_moe.clock import ManualClock
from crew_moe.domain.hosting import BatchSpec, LocalPlan
from crew_moe.domain.local_work import Asked, LocalRefusal, Processed, Trouble
from crew_moe.local_gate.engine.engine import LONG, LOOKING
from crew_moe.local_gate.features import TextFeatures
from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import (
    FixedGate,
    Held,
    Upper,
    as_host,
    opened,
    processed,
    refusal,
    spec,
)
from tests.waiting import until


async def test_busy_expert_is_passed_over_for_one_that_is_nearly_as_likely() -> None:
    held = Held()
    busy, free = Upper("busy"), Upper("free")
    gate = FixedGate(["busy", "free"], even=True)
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    local = opened(busy, free, gate=gate, clock=clock)
    hanging = await slow_down(local, clock, busy, held)
    answer = processed(await local.process(Asked(text="hello", timeout_s=1.0)))
    held.go.set()
    await hanging
    await local.aclose()

    assert (answer.expert_used, answer.tried) == ("free", (("busy", Trouble.OVERLOADED),))


async def slow_down(
    local: LocalGate, clock: ManualClock, upper: Upper, held: Held
) -> asyncio.Future[Processed | LocalRefusal]:
    """The engine sees that a batch takes 0.6 s, and the next one hangs."""
    upper.act = lambda _: clock.advance(0.6)
    await local.process(Asked(text="slow", expert=upper.name))
    upper.act = held
    hanging = asyncio.ensure_future(local.process(Asked(text="hangs", expert=upper.name)))
    await asyncio.to_thread(held.began.wait, 30.0)
    return hanging


async def test_under_load_an_answer_is_made_cheaper_unless_the_caller_minds(upper: Upper) -> None:
    held = Held()
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    local = opened(upper, clock=clock, batch=BatchSpec(max_wait_ms=0.0))
    hanging = await slow_down(local, clock, upper, held)
    options = {"num_beams": 4, "max_output_tokens": 100}
    wanted = [Asked(text="hello", options=options, timeout_s=1.0, flexible=flexible) for flexible in (True, False)]
    waiting = [asyncio.ensure_future(local.process(asked)) for asked in wanted]
    await asyncio.to_thread(until, lambda: local.health().queues["upper"] == 2)
    held.go.set()
    answers = [processed(await one) for one in waiting]
    await hanging
    await local.aclose()

    assert [answer.profile for answer in answers] == ["light", "full"]
    told = sorted((work.options["num_beams"], work.max_output_tokens) for work in upper.works[-2:])
    assert told == [(1, 50), (4, 100)]


async def test_cheaper_answer_is_remembered_for_those_who_would_get_it_again(upper: Upper) -> None:
    held = Held()
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    local = opened(upper, clock=clock, batch=BatchSpec(max_wait_ms=0.0))
    light = Asked(text="hello", options={"max_output_tokens": 50}, flexible=False)
    upper.act = lambda _: clock.advance(0.6)
    await local.process(light)
    hanging = await slow_down(local, clock, upper, held)
    again = processed(await local.process(Asked(text="hello", options={"max_output_tokens": 100}, timeout_s=1.0)))
    held.go.set()
    await hanging
    await local.aclose()

    assert (again.cached, again.profile) == (True, "light")


class Looking(FixedGate):
    """Looks at long texts until told to go on."""

    held = Held()

    def features(self, text: str) -> TextFeatures:
        if len(text) >= LONG:
            self.held([text])
        return FixedGate.features(self, text)


async def test_long_texts_are_looked_at_a_few_at_a_time(upper: Upper) -> None:
    hosts = {"upper": spec("upper", max_input_chars=2 * LONG)}
    gate = Looking(["upper"])
    local = LocalGate.open(LocalPlan(hosts=hosts), hosts={"upper": as_host(upper)}, gate=gate)
    long = [asyncio.ensure_future(local.process(Asked(text=f"{n} " * LONG))) for n in range(9)]
    late = refusal(await local.process(Asked(text="a " * (LONG - 1), timeout_s=0.01)))
    await local.process(Asked(text="short"))
    await asyncio.to_thread(until, lambda: len(gate.held.seen) >= LOOKING)
    looked_at = len(gate.held.seen)
    gate.held.go.set()
    answers = [processed(await one) for one in long]
    await local.aclose()

    assert (looked_at, late.trouble, len(answers)) == (LOOKING, Trouble.TIMEOUT, 9)


async def test_calls_that_wait_for_an_expert_to_be_loaded_go_together_where_it_takes_several() -> None:
    together = threading.Barrier(3, timeout=5.0)

    def pieces(text: str) -> Iterator[str]:
        together.wait()
        yield text

    local = opened(Upper(pieces=pieces, concurrent=3))

    async def last(text: str) -> object:
        return [piece async for piece in local.stream(Asked(text=text))][-1]

    answers = await asyncio.gather(*(last(text) for text in "abc"))
    await local.aclose()

    assert [processed(answer).result for answer in answers] == ["a", "b", "c"]


async def test_four_hundred_at_once_get_each_their_own_answer(upper: Upper) -> None:
    local = opened(upper, batch=BatchSpec(queue=400))
    answers = await asyncio.gather(*(local.process(Asked(text=f"text {n}")) for n in range(400)))
    await local.aclose()

    assert [processed(answer).result for answer in answers] == [f"TEXT {n}" for n in range(400)]
    assert len(upper.batches) < 100


async def test_caller_who_is_cancelled_leaves_the_line(local: LocalGate, upper: Upper) -> None:
    held = Held()
    upper.act = held
    first = asyncio.ensure_future(local.process(Asked(text="first")))
    await asyncio.to_thread(held.began.wait, 30.0)
    leaver = asyncio.ensure_future(local.process(Asked(text="leaver")))
    await asyncio.to_thread(until, lambda: local.health().queues["upper"] == 1)
    leaver.cancel()
    await asyncio.to_thread(until, lambda: local.health().queues["upper"] == 0)
    held.go.set()
    await first

    assert upper.batches == [["first"]]


async def test_model_is_told_when_nobody_waits_any_more(local: LocalGate, upper: Upper) -> None:
    held = Held()
    upper.act = held
    caller = asyncio.ensure_future(local.process(Asked(text="hello")))
    await asyncio.to_thread(held.began.wait, 30.0)
    gone = upper.works[0].gone
    assert gone is not None
    assert not gone()
    caller.cancel()

    await asyncio.to_thread(until, gone)
    held.go.set()
