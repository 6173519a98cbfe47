"""The batcher puts calls together, and keeps each caller's trouble to itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.clock import ManualClock
from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import BatchSpec
from crew_moe.domain.local_work import LocalRefusal, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.engine.batching import Batcher, Member
from crew_moe.local_gate.engine.workers import Workers
from tests.local_gate.engine_hosts import Held

NEVER = 1e9
PATIENCE_S = 10.0
Answer = str | LocalRefusal


@dataclass
class Model:
    """Answers in capitals; `act` is done with each batch first, `opening` before it is used at all."""

    act: Callable[[Sequence[str]], object] = lambda _: None
    opening: Callable[[], object] = lambda: None
    batches: list[list[str]] = field(default_factory=list)

    @contextmanager
    def use(self) -> Iterator[Model]:
        self.opening()
        yield self

    @staticmethod
    def run(model: Model, _: str, members: Sequence[Member[str, str]]) -> list[str | HostFailed]:
        texts = [member.item for member in members]
        model.batches.append(texts)
        model.act(texts)
        return [text.upper() for text in texts if text != "lost"]


class Bench:
    """A batcher over a model, with a clock that stands still."""

    def __init__(self, model: Model, **limits: float) -> None:
        self.model = model
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.workers = Workers("test-batcher")
        spec = BatchSpec(**{"max_size": 4, "max_wait_ms": 0.0, **limits})  # type: ignore[arg-type]  # as given
        self.batcher: Batcher[Model, str, str] = Batcher(
            "model", model.use, Model.run, spec=spec, clock=self.clock, workers=self.workers
        )

    def ask(self, text: str, *, tier: Tier = Tier.BASELINE, deadline: float = NEVER) -> asyncio.Task[Answer]:
        return asyncio.ensure_future(self._answer(text, tier, deadline))

    async def _answer(self, text: str, tier: Tier, deadline: float) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            return await self.batcher.ask(text, kind="process", tokens=1, tier=tier, deadline=deadline)

    async def held(self) -> tuple[Held, asyncio.Task[Answer]]:
        """The model hangs in a first call, until told to go on."""
        held = Held()
        self.model.act = held
        first = self.ask("first")
        assert await asyncio.to_thread(held.began.wait, 30.0)
        return held, first

    async def aclose(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.batcher.aclose()
        assert self.workers.close(within_s=PATIENCE_S)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(Model())
    yield made
    await made.aclose()


def trouble(answer: Answer) -> Trouble:
    assert isinstance(answer, LocalRefusal), answer
    return answer.trouble


async def test_calls_that_come_together_are_computed_together(bench: Bench) -> None:
    answers = await asyncio.gather(*(bench.ask(text) for text in "abcdef"))

    assert answers == list("ABCDEF")
    assert bench.model.batches == [["a", "b", "c", "d"], ["e", "f"]]


async def test_lonely_call_waits_for_nobody() -> None:
    patient = Bench(Model(), max_wait_ms=3_600_000.0)

    assert await patient.ask("a") == "A"
    await patient.aclose()


async def test_call_waits_for_as_many_as_came_together_before() -> None:
    patient = Bench(Model(), max_wait_ms=3_600_000.0)
    await asyncio.gather(patient.ask("a"), patient.ask("b"))
    first = patient.ask("c")
    await asyncio.sleep(0)

    assert await patient.ask("d") == "D"
    assert await first == "C"
    assert patient.model.batches == [["a", "b"], ["c", "d"]]
    await patient.aclose()


async def test_expert_that_takes_several_calls_gets_them_one_by_one(bench: Bench) -> None:
    bench.batcher.places = 3

    await asyncio.gather(*(bench.ask(text) for text in "abc"))

    assert sorted(bench.model.batches) == [["a"], ["b"], ["c"]]


async def test_full_batch_is_ready_before_the_model_is_and_only_one_is_computed_at_a_time() -> None:
    here, most = 0, 0
    lock, never = threading.Lock(), threading.Event()

    def act(_: Sequence[str]) -> None:
        nonlocal here, most
        with lock:
            here += 1
            most = max(most, here)
        never.wait(0.0005)
        with lock:
            here -= 1

    bench = Bench(Model(act=act), queue=400)
    answers = await asyncio.gather(*(bench.ask(f"a{number}") for number in range(400)))
    await bench.aclose()

    assert answers == [f"A{number}" for number in range(400)]
    assert (most, {len(batch) for batch in bench.model.batches}) == (1, {4})


async def test_premium_is_computed_first(bench: Bench) -> None:
    held, first = await bench.held()
    others = [bench.ask("slow", tier=Tier.FAST), bench.ask("quick", tier=Tier.PREMIUM)]
    await asyncio.sleep(0)
    held.go.set()
    await asyncio.gather(first, *others)

    assert bench.model.batches[1] == ["quick", "slow"]


async def test_model_that_raises_fails_only_the_call_that_made_it_raise(bench: Bench) -> None:
    def fail_on_bad(texts: Sequence[str]) -> None:
        if "bad" in texts:
            raise ValueError("it was 'bad'")

    bench.model.act = fail_on_bad
    a, bad, c, d = await asyncio.gather(*(bench.ask(text) for text in ("a", "bad", "c", "d")))

    assert [a, c, d] == ["A", "C", "D"]
    assert trouble(bad) is Trouble.MODEL_FAILED
    assert isinstance(bad, LocalRefusal)
    assert "ValueError" in bad.what
    assert "'bad'" not in bad.what


class PanicException(BaseException):
    """As libraries written in Rust raise it, which is no Exception."""


async def test_model_that_panics_fails_the_call_and_does_the_next(bench: Bench) -> None:
    def panic(_: Sequence[str]) -> None:
        raise PanicException("it was 'bad'")

    bench.model.act = panic
    bad = await bench.ask("bad")
    bench.model.act = lambda _: None

    assert trouble(bad) is Trouble.MODEL_FAILED
    assert await bench.ask("good") == "GOOD"


async def test_batch_that_no_thread_can_be_started_for_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as exhausted:
        exhausted.setattr(threading.Thread, "start", no_more)
        refused = await bench.ask("first")

    assert trouble(refused) is Trouble.OUT_OF_MEMORY
    assert await bench.ask("second") == "SECOND"


async def test_batch_out_of_memory_is_halved_until_it_fits(bench: Bench) -> None:
    def small_machine(texts: Sequence[str]) -> None:
        if len(texts) > 1:
            raise MemoryError

    bench.model.act = small_machine
    answers = await asyncio.gather(*(bench.ask(text) for text in "abcd"))

    assert answers == list("ABCD")
    assert [len(batch) for batch in bench.model.batches] == [4, 2, 1, 1, 2, 1, 1]


async def test_text_that_is_too_much_alone_is_out_of_memory(bench: Bench) -> None:
    def no_memory(_: Sequence[str]) -> None:
        raise MemoryError

    bench.model.act = no_memory

    assert trouble(await bench.ask("a")) is Trouble.OUT_OF_MEMORY
    bench.model.act = lambda _: None
    assert await bench.ask("a") == "A"


async def test_model_that_loses_an_answer_fails_for_that_text_alone(bench: Bench) -> None:
    lost, b = await asyncio.gather(bench.ask("lost"), bench.ask("b"))

    assert (trouble(lost), b) == (Trouble.MODEL_FAILED, "B")


async def test_model_that_can_not_be_loaded_is_not_tried_for_each(bench: Bench) -> None:
    tries = []

    def missing() -> None:
        tries.append(1)
        raise HostFailed(Trouble.OUT_OF_MEMORY, "it does not fit", next_steps=["use a smaller model"])

    bench.model.opening = missing
    answers = await asyncio.gather(*(bench.ask(text) for text in "abcd"))

    assert {trouble(answer) for answer in answers} == {Trouble.OUT_OF_MEMORY}
    assert len(tries) == 1


async def test_caller_who_leaves_is_not_computed(bench: Bench) -> None:
    held, first = await bench.held()
    leaver, stayer = bench.ask("leaver"), bench.ask("stayer")
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.sleep(0)
    assert len(bench.batcher) == 1
    held.go.set()
    await asyncio.gather(first, stayer)

    assert bench.model.batches == [["first"], ["stayer"]]


async def test_batch_whose_callers_have_all_left_is_not_computed_again(bench: Bench) -> None:
    tasks: list[asyncio.Task[Answer]] = []
    loop = asyncio.get_running_loop()

    def leave_and_fail(_: Sequence[str]) -> None:
        asyncio.run_coroutine_threadsafe(cancel_all(), loop).result()
        raise MemoryError

    async def cancel_all() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)

    bench.model.act = leave_and_fail
    tasks += [bench.ask(text) for text in "abcd"]
    await asyncio.gather(*tasks, return_exceptions=True)
    await bench.batcher.aclose()

    assert bench.model.batches == [["a", "b", "c", "d"]]


async def test_call_whose_time_ran_out_in_the_line_is_not_computed(bench: Bench) -> None:
    held, first = await bench.held()
    late = bench.ask("late", deadline=5.0)
    await asyncio.sleep(0)
    bench.clock.advance(5.0)
    held.go.set()

    assert await first == "FIRST"
    assert trouble(await late) is Trouble.TIMEOUT
    assert bench.model.batches == [["first"]]


async def test_full_line_refuses_and_says_when_to_come_back() -> None:
    small = Bench(Model(), queue=2)
    held, first = await small.held()
    waiting = [small.ask("a"), small.ask("b")]
    await asyncio.sleep(0)
    refused = await small.ask("c")
    held.go.set()
    await asyncio.gather(first, *waiting)
    await small.aclose()

    assert trouble(refused) is Trouble.OVERLOADED
    assert isinstance(refused, LocalRefusal)
    assert refused.retry_after_s is not None
    assert refused.retry_after_s > 0


async def test_call_that_would_come_too_late_is_refused_at_once(bench: Bench) -> None:
    bench.model.act = lambda _: bench.clock.advance(10.0)
    await bench.ask("slow")
    held, first = await bench.held()
    refused = await bench.ask("hurry", deadline=bench.clock.monotonic() + 1.0)
    held.go.set()
    await first

    assert trouble(refused) is Trouble.OVERLOADED
    assert isinstance(refused, LocalRefusal)
    assert refused.retry_after_s == pytest.approx(5.0)


async def test_time_of_loading_is_not_held_against_the_pace(bench: Bench) -> None:
    bench.model.opening = lambda: bench.clock.advance(100.0)
    await bench.ask("a")
    held, first = await bench.held()
    assert bench.batcher.expected_wait_s() == 0.0
    held.go.set()
    await first


async def test_close_refuses_those_who_wait_and_ends_those_that_run(bench: Bench) -> None:
    held, first = await bench.held()
    waiting = bench.ask("waiting")
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(bench.batcher.aclose())
    assert trouble(await waiting) is Trouble.UNAVAILABLE
    assert not closing.done()
    held.go.set()
    await closing

    assert await first == "FIRST"
    assert trouble(await bench.ask("after")) is Trouble.UNAVAILABLE


async def test_close_refuses_the_batch_that_is_ready_too(bench: Bench) -> None:
    held, first = await bench.held()
    ready = [bench.ask(text) for text in "abcd"]
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(bench.batcher) == 0
    closing = asyncio.ensure_future(bench.batcher.aclose())
    refused = await asyncio.gather(*ready)
    held.go.set()
    await closing

    assert {trouble(answer) for answer in refused} == {Trouble.UNAVAILABLE}
    assert (await first, bench.model.batches) == ("FIRST", [["first"]])


CALLS = st.lists(st.sampled_from(["fine", "raises", "huge", "leaves"]), min_size=1, max_size=14)


@settings(max_examples=40, deadline=None)
@given(calls=CALLS, size=st.integers(1, 6))
def test_every_caller_gets_what_is_its_own(calls: list[str], size: int) -> None:
    """A raising text spoils any batch it is in, a huge one any batch of more than one; some callers leave."""

    def act(texts: Sequence[str]) -> None:
        if any("raises" in text for text in texts):
            raise ValueError
        if len(texts) > 1 and any("huge" in text for text in texts):
            raise MemoryError

    async def all_calls() -> list[Answer | BaseException]:
        bench = Bench(Model(act=act), max_size=size)
        tasks = [bench.ask(f"{call} {number}") for number, call in enumerate(calls)]
        await asyncio.sleep(0)
        for task, call in zip(tasks, calls, strict=True):
            if call == "leaves":
                task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await bench.aclose()
        return answers

    for number, (call, answer) in enumerate(zip(calls, asyncio.run(all_calls()), strict=True)):
        if call == "leaves":
            assert isinstance(answer, asyncio.CancelledError)
        elif call == "raises":
            assert isinstance(answer, LocalRefusal)
            assert answer.trouble is Trouble.MODEL_FAILED
        else:
            assert answer == f"{call} {number}".upper()
