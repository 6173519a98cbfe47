"""A stream changes experts before its first piece, never after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from crew_moe.domain.chat import ChatChunk, ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.executor import AnswerChunk
from crew_moe.execution.trail import StopReason
from crew_moe.state.breaker import expert_key
from tests.execution.given import CHAT, NOW, Player, Stage, failure, reply, route, stage, trace

BREAK = failure(ErrorClass.CONNECTION)


async def pieces_of(on: Stage, way: str) -> list[AnswerChunk]:
    if way == "stream":
        return list(on.executor.stream(route(), CHAT))
    return [piece async for piece in on.executor.astream(route(), CHAT)]


async def told(pieces: Iterator[AnswerChunk] | AsyncIterator[AnswerChunk]) -> AsyncIterator[AnswerChunk]:
    """The pieces of either kind of stream."""
    if isinstance(pieces, AsyncIterator):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_pieces_come_as_the_expert_gives_them_and_the_answer_last(way: str) -> None:
    on = stage({"a": [reply("The city is Paris.")]})
    pieces = await pieces_of(on, way)

    assert [piece.text for piece in pieces] == ["The", "city", "is", "Paris.", ""]
    assert pieces[-1].answer is not None
    assert pieces[-1].reply == reply("The city is Paris.")


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_failure_before_the_first_piece_goes_to_the_fallback(way: str) -> None:
    on = stage({"a": [BREAK]})
    pieces = await pieces_of(on, way)

    assert pieces[-1].answer is not None
    assert trace(pieces[-1].answer.attempts) == [("a", "connection"), ("b", None)]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_failure_after_the_first_piece_ends_the_stream(way: str) -> None:
    on = stage({"a": [BREAK]})
    on.player.cut["a"] = ("Par", "is")
    with pytest.raises(ExecutionFailed) as failed:
        await pieces_of(on, way)

    assert failed.value.reason == StopReason.PARTIAL
    assert [(row.expert_id, row.detail) for row in failed.value.attempts] == [("a", "as told after 5 characters")]
    assert on.player.calls == ["a"]


def test_answer_that_is_whole_is_not_lost_to_what_breaks_behind_it() -> None:
    class Hasty(Player):
        """Loses the connection once all is said."""

        def stream(self, expert: Expert, request: ChatRequest, *, timeout_s: float) -> Iterator[ChatChunk]:
            yield ChatChunk(text="Paris.", reply=self.call(expert, request, timeout_s=timeout_s))
            raise BREAK

    *_, last = Stage(player=Hasty()).executor.stream(route(), CHAT)

    assert last.reply == reply()


def half_open(on: Stage) -> None:
    on.state.fail(expert_key("a"), NOW, eject_ms=1_000.0)
    on.clock.advance(2.0)


def test_reader_who_leaves_gives_the_probe_back_and_leaves_a_row() -> None:
    on = stage()
    half_open(on)
    pieces = on.executor.stream(route(), CHAT)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]

    assert on.state.admit(expert_key("a"), on.clock.now())
    assert [row.detail for row in on.rows] == ["given up by the caller"]


async def test_async_reader_who_leaves_does_so_too() -> None:
    on = stage()
    half_open(on)
    pieces = on.executor.astream(route(), CHAT)
    await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined]

    assert on.state.admit(expert_key("a"), on.clock.now())
    assert [row.detail for row in on.rows] == ["given up by the caller"]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_stream_whose_reader_outstays_its_lease_goes_on_and_costs_what_it_cost(way: str) -> None:
    on = stage({"a": [reply("The city is Paris.")]})
    along = route("a", budget_nano=10**9)
    pieces = on.executor.stream(along, CHAT) if way == "stream" else on.executor.astream(along, CHAT)
    texts = []
    async for piece in told(pieces):
        texts.append(piece.text)
        on.clock.advance(100.0)

    assert texts == ["The", "city", "is", "Paris.", ""]
    assert on.spent() == 20 * 1_000 + 5 * 10_000
