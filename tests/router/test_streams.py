"""`stream` and `astream`: the answer in pieces, who serves, who takes over, and what a caller that leaves pays."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

import pytest

from crew_moe import Completion, ExecutionFailed, Infeasible, Router, RoutingRequest
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.outcome import Piece
from crew_moe.errors import InvalidRequest
from crew_moe.execution.screened import Screened
from crew_moe.execution.trail import StopReason
from crew_moe.safety import Safety
from crew_moe.sim import Simulation, simulate
from tests.execution.raw import End, Play, RawServer, chunked
from tests.execution.test_assembler import DONE, delta, tool
from tests.router.ruled import asked, ruled

WAYS = ("stream", "astream")
TEXT = "The figures say that it goes well. They say it every year. Nobody believes them any more."


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


@pytest.fixture
def on(sim: Simulation, tmp_path: Path) -> Iterator[Router]:
    with ruled(tmp_path, base_url=sim.base_url) as router:
        yield router


async def poured(on: Router, way: str, request: RoutingRequest, **options: Any) -> list[Piece | Infeasible]:
    if way == "stream":
        return list(on.stream(request, **options))
    return [piece async for piece in on.astream(request, **options)]


async def pieces_of(on: Router, way: str, request: RoutingRequest, **options: Any) -> list[Piece]:
    found = await poured(on, way, request, **options)
    return [piece for piece in found if isinstance(piece, Piece)]


def whole(pieces: list[Piece]) -> Completion:
    completion = pieces[-1].completion
    assert completion is not None
    assert all(piece.completion is None for piece in pieces[:-1])
    return completion


@pytest.mark.parametrize("way", WAYS)
async def test_every_piece_says_who_serves_and_the_last_one_has_the_whole(
    on: Router, sim: Simulation, way: str
) -> None:
    sim.reply_with("gpt-4o", TEXT)
    pieces = await pieces_of(on, way, asked(pin="gpt-4o", run_id="r1"))

    done = whole(pieces)
    assert len(pieces) > 3
    assert {(piece.expert_id, piece.decision_id) for piece in pieces} == {("gpt-4o", done.decision_id)}
    assert "".join(piece.text for piece in pieces) == done.text == TEXT
    assert on.budgets.status("run:r1")[0].settled_usd == done.cost_usd > 0


@pytest.mark.parametrize("way", WAYS)
async def test_another_expert_takes_over_before_the_first_piece(on: Router, sim: Simulation, way: str) -> None:
    sim.kill("gpt-4o")
    pieces = await pieces_of(on, way, asked(pin="gpt-4o", fallbacks=["gpt-4o-mini"]))

    assert {piece.expert_id for piece in pieces} == {"gpt-4o-mini"}
    assert [(row.expert_id, row.error) for row in pieces[0].before] == [("gpt-4o", "connection")]
    assert [row.expert_id for row in whole(pieces).attempts] == ["gpt-4o", "gpt-4o-mini"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_cheaper_expert_of_a_new_decision_takes_over_too(on: Router, way: str) -> None:
    on.budgets.set("tenant:acme", "0.0005")
    pieces = await pieces_of(on, way, asked(tenant="acme", tier="premium"))

    done = whole(pieces)
    assert {str(row.error) for row in pieces[0].before} == {"over_budget"}
    assert done.decision_id == pieces[0].decision_id
    assert on.registry[done.expert_id].tier != "premium"


@pytest.mark.parametrize("way", WAYS)
async def test_who_may_not_be_served_gets_the_refusal_and_nothing_else(on: Router, way: str) -> None:
    (refusal,) = await poured(on, way, asked(min_quality=0.99, budget_usd="0.0000001"))
    assert isinstance(refusal, Infeasible)


@pytest.mark.parametrize("way", WAYS)
async def test_wrong_options_are_told_before_anything_is_sent(on: Router, sim: Simulation, way: str) -> None:
    with pytest.raises(InvalidRequest, match="temperature"):
        await poured(on, way, asked(), temperature=-1)
    assert sim.requests == []


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_takes_over_after_the_first_piece(tmp_path: Path, way: str) -> None:
    broken = chunked(delta(content="The fig"), end=End.RESET, whole=False)
    with RawServer(plays=_plays(broken)) as server, ruled(tmp_path, base_url=server.url) as on:
        pieces = told(on, way, asked(pin="gpt-4o", fallbacks=["gpt-4o-mini"]))
        first = await anext(pieces)
        with pytest.raises(ExecutionFailed) as failed:
            await anext(pieces)

    assert first.text == "The fig"
    assert failed.value.reason == StopReason.PARTIAL
    assert [row.expert_id for row in failed.value.attempts] == ["gpt-4o"]


@pytest.mark.parametrize("way", WAYS)
async def test_nor_by_a_new_decision_where_a_budget_had_turned_somebody_away(tmp_path: Path, way: str) -> None:
    broken = chunked(delta(content="The fig"), end=End.RESET, whole=False)
    with RawServer(plays=_plays(broken)) as server, ruled(tmp_path, base_url=server.url) as on:
        on.budgets.set("tenant:acme", "0.0005")
        with pytest.raises(ExecutionFailed) as failed:
            await poured(on, way, asked(tenant="acme", pin="gpt-5", fallbacks=["gpt-4o-mini"]))

    assert failed.value.reason == StopReason.PARTIAL
    assert [(row.expert_id, str(row.error)) for row in failed.value.attempts] == [
        ("gpt-5", "over_budget"),
        ("gpt-4o-mini", "connection"),
    ]


async def told(on: Router, way: str, request: RoutingRequest) -> AsyncIterator[Piece]:
    """The pieces one by one, whichever way."""
    if way == "astream":
        async for piece in on.astream(request):
            assert isinstance(piece, Piece)
            yield piece
    else:
        for piece in on.stream(request):
            assert isinstance(piece, Piece)
            yield piece


async def left(on: Router, way: str, request: RoutingRequest) -> str:
    """The text of the first piece, behind which the reader leaves."""
    if way == "stream":
        with closing(cast("Generator[Piece, None, None]", on.stream(request))) as pieces:
            return next(pieces).text
    async with aclosing(cast("AsyncGenerator[Piece, None]", on.astream(request))) as coming:
        return (await anext(coming)).text


@pytest.mark.parametrize("way", WAYS)
async def test_who_leaves_ends_the_call_which_counts_in_full_until_it_is_known(tmp_path: Path, way: str) -> None:
    hanging = chunked(delta(content="The fig"), end=End.HANG, whole=False)
    with RawServer(plays=_plays(hanging)) as server, ruled(tmp_path, base_url=server.url) as on:
        assert await left(on, way, asked(pin="gpt-4o", run_id="r1")) == "The fig"
        assert server.gone.wait(5)

        (unknown,) = on.budgets.status("run:r1")
        on.clock.advance(3600)  # type: ignore[attr-defined]  # a ManualClock
        (ended,) = on.budgets.status("run:r1")
    assert (unknown.settled_usd, ended.reserved_usd) == (Decimal(0), Decimal(0))
    assert ended.settled_usd == unknown.reserved_usd > 0


CALLS = (tool(0, "x", "look", '{"q'), tool(0, None, None, '": 1}'), delta("tool_calls"), DONE)


@pytest.mark.parametrize("way", WAYS)
async def test_tool_calls_come_as_they_are_written(tmp_path: Path, way: str) -> None:
    with RawServer(plays=_plays(chunked(*CALLS, dripping=True))) as server, ruled(tmp_path, base_url=server.url) as on:
        pieces = await pieces_of(on, way, asked(pin="gpt-4o"))

    head = {"index": 0, "id": "x", "type": "function", "function": {"name": "look", "arguments": '{"q'}}
    assert [call for piece in pieces[:-1] for call in piece.tool_calls] == [
        head,
        {"index": 0, "function": {"arguments": '": 1}'}},
    ]
    assert whole(pieces).tool_calls[0]["function"] == {"name": "look", "arguments": '{"q": 1}'}


async def test_tool_calls_that_come_whole_are_told_with_the_whole(on: Router, sim: Simulation) -> None:
    calls = [{"name": "look", "arguments": {"q": 1}}]
    sim.reply_with("gpt-4o", tool_calls=calls)
    pieces = await pieces_of(on, "astream", asked(pin="gpt-4o"))

    arguments = "".join(call["function"]["arguments"] for piece in pieces for call in piece.tool_calls)
    assert arguments == whole(pieces).tool_calls[0]["function"]["arguments"]


REDACT = "screening: {pii: redact}"
ANN = "ann.smith@example.org"


@pytest.mark.parametrize("way", WAYS)
async def test_pieces_have_the_true_values_back(tmp_path: Path, way: str) -> None:
    said = (delta(content="Mail [EM"), delta(content="AIL_1] now, [EMA"), tool(0, "x", "mail", '{"to": "[EMAIL'))
    plays = _plays(chunked(*said, tool(0, None, None, '_1]"}'), delta("tool_calls"), DONE, dripping=True))
    with RawServer(plays=plays) as server, ruled(tmp_path, REDACT, base_url=server.url) as on:
        pieces = await pieces_of(
            on, way, asked(pin="gpt-4o"), messages=[{"role": "user", "content": f"Write to {ANN}"}]
        )
        assert ANN not in str(server.received[0].body)

    done = whole(pieces)
    assert "".join(piece.text for piece in pieces) == done.text == f"Mail {ANN} now, [EMA"
    arguments = "".join(call["function"]["arguments"] for piece in pieces for call in piece.tool_calls)
    assert arguments == done.tool_calls[0]["function"]["arguments"] == f'{{"to": "{ANN}"}}'


@pytest.mark.parametrize("call", ["acomplete", "astream"])
async def test_the_loop_goes_on_while_a_chat_is_screened(
    sim: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with ruled(tmp_path, REDACT, base_url=sim.base_url) as on:
        threads: list[int] = []
        screen = on.guards.safety.screen

        def watched(_: Safety, chat: ChatRequest, **options: Any) -> Screened:
            threads.append(threading.get_ident())
            return screen(chat, **options)

        monkeypatch.setattr(Safety, "screen", watched)
        if call == "acomplete":
            await on.acomplete(asked(pin="gpt-4o"))
        else:
            await pieces_of(on, "astream", asked(pin="gpt-4o"))

    assert threads != []
    assert threading.get_ident() not in threads


IMAGE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_streams_are_for_those_who_can_stream(sim: Simulation, tmp_path: Path) -> None:
    with ruled(tmp_path, experts="experts: {gpt-4o: {capabilities: [tools]}}", base_url=sim.base_url) as on:
        (refusal,) = on.stream(asked(pin="gpt-4o"))
        assert isinstance(refusal, Infeasible)
        assert (refusal.binding, refusal.nearest and refusal.nearest.detail) == ("capability", "lacks streaming")
        assert on.complete(asked(pin="gpt-4o")).ok


def test_images_are_for_those_who_can_see(on: Router) -> None:
    refusal = on.complete(asked(pin="o1-mini"), [{"role": "user", "content": [IMAGE]}])
    assert isinstance(refusal, Infeasible)
    assert "vision" in str(refusal.nearest)


def _plays(*plays: Play) -> deque[Play]:
    return deque(plays)
