"""Streamed answers, as OpenAI's own client gets them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import httpx
import openai
import pytest

from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.execution.raw import End, Play, RawServer, chunked
from tests.execution.test_assembler import DONE, delta, tool
from tests.service.openai_api.chatting import ASK, TEXT, Chat, chatting, text_of
from tests.waiting import until

USAGE: Final = {"include_usage": True}


@contextmanager
def playing(*plays: Play) -> Iterator[tuple[Chat, RawServer]]:
    """Chats with a provider that sends exactly these answers."""
    with (
        RawServer(plays=deque(plays)) as server,
        Router.from_config(state=":memory:", base_url=server.url) as router,
        chatting(router) as chat,
    ):
        yield chat, server


def test_pieces_come_with_who_serves_first_and_the_cost_last(chat: Chat, sim: Simulation) -> None:
    sim.reply_with("gpt-4o", TEXT)
    chunks = list(chat.ask("gpt-4o", stream=True, hints={"run_id": "r1"}))

    first, last = chunks[0], chunks[-1]
    assert len(chunks) > 5
    assert text_of(chunks) == TEXT
    assert first.choices[0].delta.role == "assistant"
    assert {chunk.id for chunk in chunks} == {f"chatcmpl-{first.crew_moe['decision_id']}"}
    assert (last.choices[0].finish_reason, last.crew_moe["expert_id"]) == ("stop", "gpt-4o")
    assert Decimal(last.crew_moe["cost_usd"]) == chat.router.budgets.status("run:r1")[0].settled_usd > 0


def test_usage_comes_where_it_is_asked_for(chat: Chat) -> None:
    plain, told = (list(chat.ask(stream=True, stream_options=one)) for one in (None, USAGE))
    assert all(chunk.usage is None for chunk in (*plain, *told[:-1]))
    assert (told[-1].choices, told[-1].usage.total_tokens > 0) == ([], True)


def test_headers_say_who_serves_before_the_first_piece(chat: Chat) -> None:
    told = chat.headers("gpt-4o", stream=True)
    assert (told["x-crew-moe-expert"], told["x-crew-moe-decision"][:2]) == ("gpt-4o", "d-")


async def test_asynchronous_client_streams_too(chat: Chat) -> None:
    async with openai.AsyncOpenAI(base_url=f"{chat.url}/v1", api_key="unused") as client:
        stream = await client.chat.completions.create(model="auto", messages=ASK, stream=True)
        assert text_of([chunk async for chunk in stream])


def test_pieces_are_sent_as_they_come() -> None:
    with playing(chunked(delta(content="The fig"), end=End.HANG, whole=False)) as (chat, _):
        stream = chat.ask("gpt-4o", stream=True)
        assert next(stream).choices[0].delta.content == "The fig"  # while its provider says no more
        stream.close()


def test_another_expert_takes_over_before_the_first_piece(chat: Chat, sim: Simulation) -> None:
    sim.kill("gpt-4o")
    hints = {"crew_moe": {"fallbacks": ["gpt-4o-mini"]}}
    try:
        chunks = list(chat.ask("gpt-4o", stream=True, hints=hints["crew_moe"]))
        told = chat.headers("gpt-4o", stream=True, extra_body=hints)
    finally:
        sim.revive("gpt-4o")
    assert {chunk.model for chunk in chunks} == {"gpt-4o-mini"}
    assert told["x-crew-moe-expert"] == "gpt-4o-mini"
    note = "gpt-4o-mini answered instead of gpt-4o (connection)"
    assert note == told["x-crew-moe-fallback"] == chunks[0].crew_moe["fallback"] == chunks[-1].crew_moe["fallback"]


def test_a_stream_that_breaks_off_ends_with_an_error_and_nobody_takes_over() -> None:
    broken = chunked(delta(content="The fig"), end=End.RESET, whole=False)
    with playing(broken) as (chat, server):
        stream = chat.ask("gpt-4o", stream=True, hints={"fallbacks": ["gpt-4o-mini"]})
        assert next(stream).choices[0].delta.content == "The fig"
        with pytest.raises(openai.APIError, match="the stream broke after its first words") as failed:
            next(stream)

    assert (failed.value.code, failed.value.type) == ("no_expert_answered", "server_error")
    assert len(server.received) == 1


def test_a_stream_ends_in_the_way_that_clients_wait_for() -> None:
    body = {"model": "gpt-4o", "messages": ASK, "stream": True}
    broken = chunked(delta(content="The fig"), end=End.RESET, whole=False)
    with playing(chunked(delta(content="Yes."), delta("stop"), DONE), broken) as (chat, _):
        whole, torn = (httpx.post(f"{chat.url}/v1/chat/completions", json=body) for _ in range(2))

    assert whole.headers["content-type"].startswith("text/event-stream")
    assert whole.content.endswith(b"data: [DONE]\n\n")
    *_, last = torn.text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "no_expert_answered"


def test_tool_calls_stream_as_they_are_written() -> None:
    calls = (tool(0, "x", "look", '{"q'), tool(0, None, None, '": 1}'), delta("tool_calls"), DONE)
    with (
        playing(chunked(*calls, dripping=True)) as (chat, _),
        chat.client.chat.completions.stream(model="gpt-4o", messages=ASK) as stream,
    ):
        kinds = [event.type for event in stream]
        called = stream.get_final_completion().choices[0].message.tool_calls

    assert kinds.count("tool_calls.function.arguments.delta") == 2
    assert [(one.id, one.function.name, one.function.arguments) for one in called or ()] == [("x", "look", '{"q": 1}')]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_call(stream: bool) -> None:
    hanging = chunked(delta(content="The fig"), end=End.HANG, whole=False)
    body: dict[str, Any] = {"model": "gpt-4o", "messages": ASK, "stream": stream, "crew_moe": {"run_id": "r1"}}
    with playing(hanging) as (chat, server):
        with httpx.Client(timeout=httpx.Timeout(5.0, read=0.5)) as client:
            client_leaves(client, chat, body)
        assert server.gone.wait(5)
        (status,) = chat.router.budgets.status("run:r1")
        until(lambda: any("given up by the caller" in str(row) for row in chat.router.log.tail(5)))

    assert (status.settled_usd, status.reserved_usd > 0) == (Decimal(0), True)  # unknown until its lease ends


def client_leaves(client: httpx.Client, chat: Chat, body: dict[str, Any]) -> None:
    """Read what comes first, then hang up."""
    url = f"{chat.url}/v1/chat/completions"
    if not body["stream"]:
        with pytest.raises(httpx.ReadTimeout):
            client.post(url, json=body)
        return
    with client.stream("POST", url, json=body) as answer:
        assert b"The fig" in next(answer.iter_raw())
