"""Connections that belong to the loop that uses them; what may go wrong on the way is in test_client."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from crew_moe.domain.expert import Expert
from crew_moe.execution.client import OpenAIClient
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.line import HIGH_WATER, Line
from crew_moe.execution.lines import Lines
from tests.execution.given import CHAT, EXPERT
from tests.execution.raw import End, Play, RawServer, answer, chunked, raw
from tests.execution.test_client import GOOD, KEY, LAST, TOLD, WORDS
from tests.waiting import until


@pytest.fixture
async def home() -> AsyncIterator[OpenAIClient]:
    client = OpenAIClient(base_url_for=lambda expert: expert.base_url, key_for=lambda _: KEY)
    async with client.at_home():
        yield client
    client.close()


def at(server: RawServer) -> Expert:
    return replace(EXPERT, base_url=server.url)


async def said(client: OpenAIClient, server: RawServer) -> str:
    return (await client.acall(at(server), CHAT, timeout_s=5.0)).text


def idle(client: OpenAIClient) -> list[Line]:
    """The connections that wait for their next request."""
    (lines,) = client._homes.values()
    return [line for waiting in lines._idle.values() for _, line in waiting]


async def test_no_thread_stands_in_between(home: OpenAIClient) -> None:
    before = threading.active_count()
    with raw(answer(GOOD)) as server:
        during = threading.active_count()
        assert await said(home, server) == "Paris."
        assert threading.active_count() <= during + 1  # the server's own
    assert threading.active_count() == before


async def test_a_connection_is_used_again_by_calls_and_streams(home: OpenAIClient) -> None:
    with raw(answer(GOOD), chunked(WORDS, LAST, TOLD), answer(GOOD)) as server:
        await said(home, server)
        assert [chunk.text async for chunk in home.astream(at(server), CHAT, timeout_s=5.0)]
        await said(home, server)

    assert {request.connection for request in server.received} == {0}
    assert server.received[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "first",
    [
        answer(GOOD, end=End.CLOSE),
        answer(GOOD, headers="Connection: close\r\n"),
        Play((answer(GOOD).pieces[0] + b"HTTP/1.1 408 X\r\nContent-Length: 0\r\n\r\n",)),
    ],
    ids=["closed", "told", "spoke"],
)
async def test_a_connection_that_ended_is_not_used_again(home: OpenAIClient, first: Play) -> None:
    with raw(first, answer(GOOD)) as server:
        await said(home, server)
        until(lambda: not any(line.reusable for line in idle(home)))
        assert await said(home, server) == "Paris."

    assert [request.connection for request in server.received] == [0, 1]


async def test_an_answer_that_was_left_is_not_read_by_the_next_call(home: OpenAIClient) -> None:
    with raw(chunked(WORDS, LAST, TOLD), answer(GOOD)) as server:
        chunks = home.astream(at(server), CHAT, timeout_s=5.0)
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
        assert await said(home, server) == "Paris."


async def test_interim_answers_and_packed_ones_are_understood(home: OpenAIClient) -> None:
    packed = gzip.compress(json.dumps(GOOD).encode())
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with raw(Play((early, answer(GOOD).pieces[0])), answer(packed, headers="Content-Encoding: gzip\r\n")) as server:
        assert [await said(home, server) for _ in range(2)] == ["Paris."] * 2


async def test_an_answer_without_a_length_ends_with_its_connection(home: OpenAIClient) -> None:
    bare = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(GOOD).encode()
    with raw(Play((bare,), End.CLOSE)) as server:
        assert await said(home, server) == "Paris."


async def test_a_stream_comes_in_the_pieces_that_were_sent(home: OpenAIClient) -> None:
    with raw(chunked(WORDS, LAST, TOLD)) as server:
        texts = [chunk.text async for chunk in home.astream(at(server), CHAT, timeout_s=5.0)]
    assert texts == ["Par", "is.", ""]


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET, End.HANG])
async def test_what_happens_behind_the_last_event_does_not_matter(home: OpenAIClient, end: End) -> None:
    with raw(chunked(WORDS, LAST, TOLD, whole=False, end=end)) as server:
        texts = [chunk.text async for chunk in home.astream(at(server), CHAT, timeout_s=5.0)]
    assert "".join(texts) == "Paris."


async def test_a_provider_that_is_faster_than_its_reader_is_held_up() -> None:
    lines, whole = Lines(max_body=100 * HIGH_WATER), b" " * (20 * HIGH_WATER)
    with raw(answer(whole)) as server:
        exchange = lines.exchange(server.url, headers={}, content=b"{}", deadline=time.monotonic() + 10)
        await exchange.open()
        while exchange._line is not None and not exchange._line._held_up:  # noqa: ASYNC110 - the transport tells nobody
            await asyncio.sleep(0)
        assert exchange._line is not None
        assert exchange._line._waiting < 2 * HIGH_WATER
        assert await exchange.read_all() == whole
        exchange.close()
    lines.close()


async def test_an_answer_that_is_too_long_is_malformed() -> None:
    lines = Lines(max_body=100)
    with raw(answer(b" " * 101)) as server:
        exchange = lines.exchange(server.url, headers={}, content=b"{}", deadline=float("inf"))
        with pytest.raises(CallFailed, match="more than 100 bytes"):
            await exchange.fetch()
    lines.close()


@pytest.mark.parametrize("size", [100, 101, 5_000])
async def test_a_packed_answer_is_measured_unpacked(size: int) -> None:
    lines, packed = Lines(max_body=100), gzip.compress(b" " * size)
    with raw(answer(packed, headers="Content-Encoding: gzip\r\n")) as server:
        exchange = lines.exchange(server.url, headers={}, content=b"{}", deadline=float("inf"))
        if size <= 100:
            assert await exchange.fetch() == b" " * size
        else:
            with pytest.raises(CallFailed, match="more than 100 bytes"):
                await exchange.fetch()
    lines.close()


async def test_a_proxy_of_the_environment_is_left_to_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert not Lines.serves()
