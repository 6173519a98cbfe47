"""Answers in pieces: in time with their reader, and ended with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

from crew_moe.domain.local_work import Asked, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import (
    Upper,
    opened,
    processed,
    refusal,
)
from tests.waiting import until


async def test_pieces_of_a_stream_are_the_whole(local: LocalGate) -> None:
    *pieces, whole = [piece async for piece in local.stream(Asked(text="hello"))]

    assert pieces == ["H", "E", "L", "L", "O"]
    assert processed(whole).result == "HELLO"


async def test_tokens_of_a_streamed_answer_are_estimated(local: LocalGate) -> None:
    *_, whole = [piece async for piece in local.stream(Asked(text="hello"))]

    assert (processed(whole).input_tokens, processed(whole).output_tokens) == (2, 2)


async def test_reader_who_leaves_ends_the_model_s_work() -> None:
    closed = threading.Event()

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "more "
        finally:
            closed.set()

    kept = endless()  # so that nothing but the gate closes it
    local = opened(Upper(pieces=lambda _: kept))
    async with aclosing(local.stream(Asked(text="hello"))) as pieces:
        assert await anext(pieces) == "more "

    assert await asyncio.to_thread(closed.wait, 30.0)
    await local.aclose()


async def test_slow_reader_holds_the_model_back() -> None:
    made: list[str] = []

    def many(_: str) -> Iterator[str]:
        while len(made) < 1_000:
            made.append("x")
            yield "x"

    local = opened(Upper(pieces=many))
    pieces = local.stream(Asked(text="hello"))
    await anext(pieces)
    await asyncio.to_thread(until, lambda: len(made) >= 60)
    assert len(made) < 80
    *rest, whole = [piece async for piece in pieces]
    await local.aclose()

    assert (len(rest), processed(whole).result) == (999, "x" * 1_000)


async def test_stream_that_breaks_off_says_why_and_nobody_takes_over(upper: Upper) -> None:
    def broken(_: str) -> Iterator[str]:
        yield "half "
        raise HostFailed(Trouble.MODEL_FAILED, "it broke")

    local = opened(Upper("broken", pieces=broken), upper)
    first, last = [piece async for piece in local.stream(Asked(text="hello"))]
    await local.aclose()

    assert (first, refusal(last).trouble) == ("half ", Trouble.MODEL_FAILED)
