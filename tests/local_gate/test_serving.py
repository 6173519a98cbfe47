"""The local gate serves, refuses and closes as it says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from crew_moe.domain.local_work import Asked, LocalTask, Processed
from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import FixedGate, Upper, as_host, plan


@pytest.fixture
async def upper() -> Upper:
    return Upper()


@pytest.fixture
async def local(upper: Upper) -> AsyncIterator[LocalGate]:
    gate = LocalGate.open(plan("upper"), hosts={"upper": as_host(upper)}, gate=FixedGate(["upper"]))
    yield gate
    await gate.aclose()


async def test_named_expert_answers_with_full_confidence(local: LocalGate) -> None:
    answer = await local.process(Asked(text="hello", expert="upper"))

    assert isinstance(answer, Processed)
    assert (answer.result, answer.expert_used, answer.confidence) == ("HELLO", "upper", 1.0)
    assert answer.input_features["chars"] == 5.0


async def test_gate_chooses_where_none_is_named(local: LocalGate) -> None:
    answer = await local.process(Asked(text="hello"))

    assert isinstance(answer, Processed)
    assert (answer.expert_used, answer.confidence) == ("upper", 0.5)


async def test_text_is_embedded(local: LocalGate) -> None:
    answer = await local.process(Asked(text="aaa", task=LocalTask.EMBED))

    assert isinstance(answer, Processed)
    assert answer.result == pytest.approx((1.0, 0.0033, 0.0033), abs=1e-3)


async def test_pieces_of_a_stream_are_the_whole(local: LocalGate) -> None:
    *pieces, whole = [piece async for piece in local.stream(Asked(text="hello"))]

    assert pieces == ["H", "E", "L", "L", "O"]
    assert isinstance(whole, Processed)
    assert whole.result == "HELLO"


def test_thread_asks_without_a_loop() -> None:
    with_thread = LocalGate.open(plan("upper"), hosts={"upper": as_host(Upper())}, gate=FixedGate(["upper"]))

    answer = with_thread.call(Asked(text="hello"))
    with_thread.close()

    assert isinstance(answer, Processed)
    assert answer.result == "HELLO"
