"""What is remembered, for whom, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import CacheSpec, HostKind
from crew_moe.domain.local_work import Asked, LocalRefusal, LocalTask, Processed, Trouble, Work
from crew_moe.local_gate.engine.cache import Lru, is_repeatable, question, text_digest
from crew_moe.local_gate.engine.flights import Flights
from crew_moe.local_gate.engine.nearness import Nearness
from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import FixedGate, Held, Upper, as_host, opened, plan
from tests.waiting import until


@pytest.fixture
async def local(upper: Upper) -> AsyncIterator[LocalGate]:
    cache = CacheSpec(results=10, embeddings=10, similarity=0.9)
    gate = LocalGate.open(plan("upper", cache=cache), hosts={"upper": as_host(upper)}, gate=FixedGate(["upper"]))
    yield gate
    await gate.aclose()


async def ask(local: LocalGate, text: str, **fields: object) -> Processed:
    answer = await local.process(Asked(text=text, **fields))  # type: ignore[arg-type]  # as given
    assert isinstance(answer, Processed), answer
    return answer


async def test_same_question_is_computed_once(local: LocalGate, upper: Upper) -> None:
    first, second = await ask(local, "aaaa"), await ask(local, "aaaa")

    assert (first.cached, second.cached, second.similarity) == (False, True, 1.0)
    assert first.result == second.result == "AAAA"
    assert upper.batches == [["aaaa"]]


async def test_same_text_is_looked_at_once(upper: Upper) -> None:
    gate = FixedGate(["upper"])
    local = opened(upper, gate=gate)
    await ask(local, "aaaa")
    again = await ask(local, "aaaa", options={"style": "short"})
    await local.aclose()

    assert gate.looked == ["aaaa"]
    assert again.input_features["chars"] == 4.0


async def test_other_options_are_another_question(local: LocalGate, upper: Upper) -> None:
    await ask(local, "aaaa", options={"style": "short"})
    other = await ask(local, "aaaa", options={"style": "long"})

    assert not other.cached
    assert len(upper.batches) == 2


async def test_answer_drawn_at_random_is_never_remembered(local: LocalGate, upper: Upper) -> None:
    for _ in range(2):
        assert not (await ask(local, "aaaa", options={"temperature": 0.7})).cached

    assert len(upper.batches) == 2


async def test_new_version_of_a_model_forgets_what_the_old_one_said(local: LocalGate) -> None:
    before = await ask(local, "aaaa")
    assert await local.reload(["upper"]) == {"upper": None}
    after = await ask(local, "aaaa")

    assert (before.model_version, after.model_version) == ("v1", "v2")
    assert not after.cached


async def test_version_that_changed_behind_the_gate_s_back_counts_from_the_next_answer(
    local: LocalGate, upper: Upper
) -> None:
    await ask(local, "aaaa")
    upper.load()
    assert (await ask(local, "bbbb")).model_version == "v2"

    assert not (await ask(local, "aaaa")).cached


async def test_remembered_answer_is_streamed_in_one_piece(local: LocalGate) -> None:
    await ask(local, "aaaa")
    pieces = [piece async for piece in local.stream(Asked(text="aaaa"))]

    assert pieces[0] == "AAAA"
    assert isinstance(pieces[1], Processed)
    assert pieces[1].cached


async def test_near_text_gets_the_answer_to_its_neighbour(local: LocalGate, upper: Upper) -> None:
    await ask(local, "aaaab")
    near = await ask(local, "aaaaab")

    assert near.cached
    assert near.result == "AAAAB"
    assert near.similarity == pytest.approx(0.9989, abs=1e-3)
    assert upper.batches == [["aaaab"]]


@pytest.mark.parametrize("text", ["aaaab", "aaaaab"], ids=["same", "near"])
async def test_what_one_tenant_asked_answers_no_other(local: LocalGate, text: str) -> None:
    await ask(local, "aaaab", tenant="acme")

    assert not (await ask(local, text, tenant="globex")).cached
    assert not (await ask(local, text)).cached
    assert (await ask(local, text, tenant="acme")).cached
    assert not (await ask(local, "aaaab", tenant="umbrella", task=LocalTask.EMBED)).cached


async def test_text_that_is_not_near_enough_is_computed(local: LocalGate) -> None:
    await ask(local, "aaaa")

    assert not (await ask(local, "bbbb")).cached


async def test_near_text_with_other_options_is_computed(local: LocalGate) -> None:
    await ask(local, "aaaab", options={"style": "short"})

    assert not (await ask(local, "aaaaab")).cached


class Slow(Upper):
    """Its embedding of what has a z in it is not a number, and that of `text` takes until it is told to go on."""

    def __init__(self, text: str = "") -> None:
        super().__init__(concurrent=2)
        self.held = Held()
        self._text = text

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._text in texts:
            self.held(texts)
        return super().embed(texts) * np.float32("nan" if "z" in texts[0] else 1.0)


async def test_embedding_by_an_older_model_finds_no_neighbour_of_the_new_one() -> None:
    slow = Slow("aaaaab")
    local = opened(slow, cache=CacheSpec(similarity=0.9))
    await ask(local, "cccc")
    asking = asyncio.ensure_future(ask(local, "aaaaab"))
    await asyncio.to_thread(slow.held.began.wait, 30.0)
    slow.load()
    await ask(local, "aaaab")
    slow.held.go.set()
    answer = await asking
    await local.aclose()

    assert (answer.cached, answer.result) == (False, "AAAAAB")


async def test_embedding_that_is_no_number_is_near_to_nothing() -> None:
    local = opened(Slow(), cache=CacheSpec(similarity=0.9))
    await ask(local, "aaaa")
    answer = await ask(local, "zzzz")
    refused = await local.process(Asked(text="zzzz", task=LocalTask.EMBED))
    await local.aclose()

    assert (answer.cached, answer.result) == (False, "ZZZZ")
    assert isinstance(refused, LocalRefusal)
    assert refused.trouble is Trouble.MODEL_FAILED


async def test_one_question_of_many_callers_takes_one_place_among_the_neighbours(upper: Upper) -> None:
    local = opened(upper, cache=CacheSpec(embeddings=4, similarity=0.9))
    await ask(local, "aaaab")
    await asyncio.gather(*(ask(local, "cccc") for _ in range(5)))
    near = await ask(local, "aaaaab")
    await local.aclose()

    assert near.cached


async def test_embedding_is_remembered(local: LocalGate) -> None:
    first = await ask(local, "abc", task=LocalTask.EMBED)
    second = await ask(local, "abc", task=LocalTask.EMBED)

    assert (first.cached, second.cached) == (False, True)
    assert first.result == second.result


async def test_same_question_at_the_same_time_is_computed_once() -> None:
    held = Held()
    upper = Upper(act=held)
    local = LocalGate.open(plan("upper"), hosts={"upper": as_host(upper)}, gate=FixedGate(["upper"]))
    tasks = [asyncio.ensure_future(local.process(Asked(text="same"))) for _ in range(5)]
    await asyncio.to_thread(held.began.wait, 30.0)
    tasks[0].cancel()
    held.go.set()
    others = await asyncio.gather(*tasks[1:])
    await local.aclose()

    assert [answer.result for answer in others if isinstance(answer, Processed)] == ["SAME"] * 4
    assert upper.batches == [["same"]]


@pytest.mark.parametrize("chat", [None, ChatRequest(messages=[{"role": "user", "content": "a secret"}])])
def test_neither_texts_nor_options_are_kept_and_a_question_takes_little(chat: ChatRequest | None) -> None:
    work = Work(text="a secret", options={"instruction": "another secret" * 10_000}, chat=chat)

    asked = question("e", LocalTask.PROCESS, work, text_digest("a secret"))

    assert "secret" not in repr(asked)
    assert len(repr(asked)) < 1000


async def test_shared_computation_ends_with_its_last_caller() -> None:
    flights: Flights[str, int] = Flights()
    ended = asyncio.Event()

    async def forever() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    callers = [asyncio.ensure_future(flights.join("key", forever)) for _ in range(2)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    assert not ended.is_set()
    callers[1].cancel()
    await asyncio.wait_for(ended.wait(), 30.0)

    assert len(flights) == 0


async def test_one_caller_short_of_time_does_not_time_out_the_others() -> None:
    held = Held()
    upper = Upper(act=held)
    local = LocalGate.open(plan("upper"), hosts={"upper": as_host(upper)}, gate=FixedGate(["upper"]))
    first = asyncio.ensure_future(local.process(Asked(text="first")))
    await asyncio.to_thread(held.began.wait, 30.0)
    hasty = asyncio.ensure_future(local.process(Asked(text="same", timeout_s=0.05)))
    patient = asyncio.ensure_future(local.process(Asked(text="same", timeout_s=30.0)))
    refused = await hasty
    held.go.set()
    answer = await patient
    await first
    await local.aclose()

    assert isinstance(refused, LocalRefusal)
    assert refused.trouble is Trouble.TIMEOUT
    assert isinstance(answer, Processed)


def test_least_recently_used_value_goes_first() -> None:
    lru: Lru[str, str] = Lru(entries=2, max_bytes=100, size=len)
    lru.put("a", "1")
    lru.put("b", "2")
    lru.get("a")
    lru.put("c", "3")

    assert [lru.get(key) for key in "abc"] == ["1", None, "3"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60))
def test_values_never_take_more_than_they_may(puts: list[tuple[int, int]]) -> None:
    lru: Lru[int, bytes] = Lru(entries=5, max_bytes=100, size=len)
    kept: dict[int, int] = {}
    for key, size in puts:
        lru.put(key, bytes(size))
        kept[key] = size
        alive = {key: value for key in kept if (value := lru.get(key)) is not None}
        assert lru.bytes == sum(map(len, alive.values())) <= 100
        assert len(lru) == len(alive) <= 5


def test_question_tells_nothing_of_a_text() -> None:
    chat = ChatRequest(messages=[{"role": "user", "content": "a secret"}])
    asked = question("e", LocalTask.PROCESS, Work(text="a secret", chat=chat), text_digest("a secret"))

    assert asked is not None
    assert "secret" not in repr(asked)


@pytest.mark.parametrize(
    ("kind", "options", "repeatable"),
    [
        (HostKind.BYT5, {}, True),
        (HostKind.BYT5, {"do_sample": True}, False),
        (HostKind.BYT5, {"temperature": 0.5}, False),
        (HostKind.VLLM, {}, False),
        (HostKind.VLLM, {"temperature": 0}, True),
        (HostKind.EXTRACTIVE, {"temperature": 0.5}, True),
    ],
)
def test_only_what_comes_out_the_same_again_is_remembered(
    kind: HostKind, options: dict[str, object], repeatable: bool
) -> None:
    assert is_repeatable(kind, LocalTask.PROCESS, Work(text="", options=options)) is repeatable


def unit(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    vector = np.array(values, dtype=np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def test_nearest_question_is_that_of_the_largest_cosine() -> None:
    rng = np.random.default_rng(5)
    vectors = [unit(*rng.normal(size=16)) for _ in range(50)]
    near: Nearness[str, int] = Nearness(rows=50)
    for number, vector in enumerate(vectors):
        near.add("g", number, vector)
    wanted = unit(*rng.normal(size=16))

    cosines = [float(cosine) for cosine in np.array(vectors) @ wanted]
    best = max(range(50), key=cosines.__getitem__)
    assert near.nearest("g", wanted) == (best, round(cosines[best], 6))


def test_rows_are_bounded_over_all_groups() -> None:
    near: Nearness[int, int] = Nearness(rows=10)
    for number in range(100):
        near.add(number // 15, number, unit(number + 1.0, 1.0))

    assert len(near) <= 10
    assert near.nearest(0, unit(1.0, 1.0)) is None


def test_oldest_question_of_a_full_group_is_overwritten() -> None:
    near: Nearness[str, int] = Nearness(rows=2)
    for number, vector in enumerate((unit(1.0, 0.0), unit(0.0, 1.0), unit(1.0, 1.0))):
        near.add("g", number, vector)

    assert near.nearest("g", unit(1.0, 0.0)) == (2, 0.707107)


async def test_more_urgent_caller_does_not_wait_behind_the_same_question_of_a_slower_tier() -> None:
    held = Held()
    upper = Upper(act=held)
    local = LocalGate.open(plan("upper"), hosts={"upper": as_host(upper)}, gate=FixedGate(["upper"]))
    first = asyncio.ensure_future(local.process(Asked(text="first")))
    await asyncio.to_thread(held.began.wait, 30.0)
    tiers = (Tier.FAST, Tier.PREMIUM)
    others = [asyncio.ensure_future(local.process(Asked(text="same", tier=tier))) for tier in tiers]
    await asyncio.to_thread(until, lambda: local.health().queues["upper"] == 2)
    held.go.set()
    await asyncio.gather(first, *others)
    await local.aclose()

    assert upper.batches == [["first"], ["same", "same"]]
