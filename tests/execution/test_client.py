"""The client against real HTTP: what arrives, what comes back, and how each thing goes wrong."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.domain.meter import Told
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.execution.client import OpenAIClient
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.wire import Exchange
from tests.execution.given import CHAT, EXPERT
from tests.execution.raw import End, Play, RawServer, answer, chunked, raw

KEY = "sk-test-0123456789abcdef"
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
GOOD = {"model": "a-2026", "choices": [{"message": {"content": "Paris."}, "finish_reason": "stop"}], "usage": USAGE}
WORDS = b'data: {"choices": [{"delta": {"content": "Par"}}]}\n\n'
LAST = b'data: {"choices": [{"delta": {"content": "is."}, "finish_reason": "stop"}]}\n\n'
TOLD = b'data: {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 5}}\n\ndata: [DONE]\n\n'


@pytest.fixture
def client() -> Iterator[OpenAIClient]:
    made = OpenAIClient(base_url_for=lambda expert: expert.base_url, key_for=lambda _: KEY)
    yield made
    made.close()


def at(server: RawServer) -> Expert:
    return replace(EXPERT, base_url=server.url)


def call(client: OpenAIClient, expert: Expert, chat: ChatRequest, timeout_s: float) -> ChatReply:
    return client.call(expert, chat, timeout_s=timeout_s)


def acall(client: OpenAIClient, expert: Expert, chat: ChatRequest, timeout_s: float) -> ChatReply:
    return asyncio.run(client.acall(expert, chat, timeout_s=timeout_s))


def home_acall(client: OpenAIClient, expert: Expert, chat: ChatRequest, timeout_s: float) -> ChatReply:
    async def at_home() -> ChatReply:
        async with client.at_home():
            return await client.acall(expert, chat, timeout_s=timeout_s)

    return asyncio.run(at_home())


def stream(client: OpenAIClient, expert: Expert, chat: ChatRequest, timeout_s: float) -> ChatReply:
    return _whole(list(client.stream(expert, chat, timeout_s=timeout_s)))


def astream(client: OpenAIClient, expert: Expert, chat: ChatRequest, timeout_s: float) -> ChatReply:
    async def all_of_it() -> list[ChatChunk]:
        return [chunk async for chunk in client.astream(expert, chat, timeout_s=timeout_s)]

    return _whole(asyncio.run(all_of_it()))


def home_astream(client: OpenAIClient, expert: Expert, chat: ChatRequest, timeout_s: float) -> ChatReply:
    async def all_of_it() -> list[ChatChunk]:
        async with client.at_home():
            return [chunk async for chunk in client.astream(expert, chat, timeout_s=timeout_s)]

    return _whole(asyncio.run(all_of_it()))


def _whole(chunks: list[ChatChunk]) -> ChatReply:
    reply = chunks[-1].reply
    assert reply is not None
    assert "".join(chunk.text for chunk in chunks) == reply.text
    return reply


Calling = Callable[[OpenAIClient, Expert, ChatRequest, float], ChatReply]


@pytest.fixture(params=[call, acall, home_acall, stream, astream, home_astream])
def calling(request: pytest.FixtureRequest) -> Calling:
    """The six ways of calling, which must not differ in how they fail."""
    way: Calling = request.param
    return way


def failed(calling: Calling, client: OpenAIClient, play: Play, *, timeout_s: float = 5.0) -> CallFailed:
    with raw(play) as server, pytest.raises(CallFailed) as raised:
        calling(client, at(server), CHAT, timeout_s)
    assert raised.value.__context__ is None
    assert KEY not in str(raised.value)
    return raised.value


def test_request_carries_key_model_and_messages(client: OpenAIClient) -> None:
    with raw(answer(GOOD)) as server:
        client.call(at(server), CHAT, timeout_s=5.0)
    (request,) = server.received

    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {"model": "a-live", "messages": list(CHAT.messages)}


def test_without_a_key_no_credentials_are_sent() -> None:
    client = OpenAIClient(base_url_for=lambda expert: expert.base_url, key_for=lambda _: None)
    with raw(answer(GOOD)) as server:
        client.call(at(server), CHAT, timeout_s=5.0)
    client.close()

    assert "authorization" not in server.received[0].headers


def test_answer_is_read(calling: Calling, client: OpenAIClient) -> None:
    with raw(answer(GOOD)) as server:
        reply = calling(client, at(server), CHAT, 30.0)

    assert reply == ChatReply(text="Paris.", usage=Usage(input_tokens=20, output_tokens=5), model="a-2026")


def test_limits_that_the_answer_tells_are_kept(calling: Calling, client: OpenAIClient) -> None:
    headers = "x-ratelimit-remaining-requests: 7\r\nx-ratelimit-remaining-tokens: -1\r\n"
    with raw(answer(GOOD, headers=headers)) as server:
        reply = calling(client, at(server), CHAT, 30.0)

    assert reply.limits == (Told(rate="requests", remaining=7),)


@pytest.mark.parametrize("way", [stream, astream, home_astream])
def test_stream_is_read(way: Calling, client: OpenAIClient) -> None:
    with raw(chunked(WORDS, LAST, TOLD)) as server:
        reply = way(client, at(server), CHAT, 30.0)

    assert (reply.text, reply.usage) == ("Paris.", Usage(input_tokens=20, output_tokens=5))
    assert server.received[0].body["stream"] is True


def test_first_words_come_before_the_last_are_written(client: OpenAIClient) -> None:
    with raw(chunked(WORDS, whole=False, end=End.HANG)) as server:
        chunks = client.stream(at(server), CHAT, timeout_s=30.0)

        assert next(chunks) == ChatChunk(text="Par")
        chunks.close()  # type: ignore[attr-defined]
        assert server.gone.wait(30.0)


async def test_cancelled_call_closes_its_connection(client: OpenAIClient) -> None:
    with raw(Play((), End.HANG)) as server:
        task = asyncio.create_task(client.acall(at(server), CHAT, timeout_s=30.0))
        assert await asyncio.to_thread(server.arrived.wait, 5.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert task.cancelled()
        assert await asyncio.to_thread(server.gone.wait, 5.0)


def test_interrupted_call_closes_its_connection(client: OpenAIClient) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started without it

    def interrupt() -> None:
        server.arrived.wait(30.0)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with raw(Play((), End.HANG)) as server:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            client.call(at(server), CHAT, timeout_s=30.0)
        signal.signal(signal.SIGINT, before)

        assert server.gone.wait(10.0)  # well before the call's own deadline


def test_interrupt_while_the_call_begins_closes_it_too(client: OpenAIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = Exchange.fetch

    def interrupted(self: Exchange) -> None:
        fetch(self)
        server.arrived.wait(30.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(Exchange, "fetch", interrupted)
    with raw(Play((), End.HANG)) as server:
        with pytest.raises(KeyboardInterrupt):
            client.call(at(server), CHAT, timeout_s=30.0)

        assert server.gone.wait(10.0)  # well before the call's own deadline


@pytest.mark.parametrize("calling", [call, acall, stream, astream])
def test_connections_are_used_again(calling: Calling, client: OpenAIClient) -> None:
    plays = [chunked(WORDS, LAST, TOLD) if calling in (stream, astream) else answer(GOOD) for _ in range(3)]
    with raw(*plays) as server:
        for _ in plays:
            calling(client, at(server), CHAT, 30.0)

    assert {request.connection for request in server.received} == {0}


@pytest.mark.parametrize(
    ("play", "error"),
    [
        (answer({"error": {"message": f"bad key {KEY}", "code": "invalid_api_key"}}, status=401), ErrorClass.AUTH),
        (answer(b"", status=302, headers="Location: http://127.0.0.1:9/\r\n"), ErrorClass.NOT_FOUND),
        (answer({"error": {"code": 502, "message": "upstream"}}), ErrorClass.SERVER),
        (answer(b"<html>"), ErrorClass.MALFORMED),
        (answer(b"not gzip", headers="Content-Encoding: gzip\r\n"), ErrorClass.MALFORMED),
        (Play((), End.CLOSE), ErrorClass.CONNECTION),
        (Play((), End.RESET), ErrorClass.CONNECTION),
        (Play((b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",), End.CLOSE), ErrorClass.CONNECTION),
        (Play((b"SSH-2.0-OpenSSH_9.6\r\n",), End.CLOSE), ErrorClass.CONNECTION),
    ],
    ids=["401", "redirect", "error in 200", "html", "no gzip", "closed", "reset", "cut", "no http"],
)
def test_what_goes_wrong_has_its_class(calling: Calling, client: OpenAIClient, play: Play, error: ErrorClass) -> None:
    failure = failed(calling, client, play)

    assert failure.error_class is error
    assert failure.sent


@pytest.mark.parametrize("way", [stream, astream, home_astream])
@pytest.mark.parametrize(
    ("play", "error"),
    [
        (chunked(WORDS), ErrorClass.MALFORMED),
        (chunked(WORDS, whole=False, end=End.RESET), ErrorClass.CONNECTION),
        (chunked(WORDS, whole=False, end=End.CLOSE), ErrorClass.CONNECTION),
        (chunked(WORDS, b'data: {"error": {"code": 429, "message": "slow down"}}\n\n'), ErrorClass.RATE_LIMIT),
    ],
    ids=["ended", "reset", "closed", "error"],
)
def test_cut_stream_is_a_failure(way: Calling, client: OpenAIClient, play: Play, error: ErrorClass) -> None:
    assert failed(way, client, play).error_class is error


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "play",
    [
        Play((), End.HANG),
        Play((HEAD,), End.HANG),
        Play((HEAD, *[b" "] * 1_000), dripping=True),
        Play(tuple(bytes([byte]) for byte in HEAD), dripping=True),
        chunked(*[WORDS] * 1_000, dripping=True),
    ],
    ids=["silence", "head only", "dripping body", "dripping head", "dripping stream"],
)
def test_timeout_bounds_the_whole_attempt(calling: Calling, client: OpenAIClient, play: Play) -> None:
    began = time.monotonic()
    failure = failed(calling, client, play, timeout_s=0.5)

    assert (failure.error_class, failure.sent) == (ErrorClass.TIMEOUT, True)
    assert 0.4 < time.monotonic() - began < 8.0


def test_refused_connection_was_not_sent(calling: Calling, client: OpenAIClient) -> None:
    with raw() as server:
        nobody = at(server)
    with pytest.raises(CallFailed) as raised:
        calling(client, nobody, CHAT, 30.0)

    assert (raised.value.error_class, raised.value.sent) == (ErrorClass.CONNECTION, False)


def test_retry_after_is_told(client: OpenAIClient) -> None:
    play = answer({"error": {"message": "slow down"}}, status=429, headers="Retry-After: 3\r\n")

    assert failed(call, client, play).retry_after_ms == 3_000.0


def test_error_that_quotes_the_prompt_does_not_tell_it(client: OpenAIClient) -> None:
    complaint = {"error": {"message": "can't answer 'what is the capital of France?'", "code": "invalid_prompt"}}

    assert failed(call, client, answer(complaint, status=400)).detail == "HTTP 400: invalid_prompt"


@pytest.mark.parametrize(
    ("base_url", "key", "error"),
    [
        (None, KEY, ErrorClass.NOT_FOUND),
        ("ftp://127.0.0.1", KEY, ErrorClass.NOT_FOUND),
        ("http://127.0.0.1:x", KEY, ErrorClass.NOT_FOUND),
        ("http://127.0.0.1:9/v1", "line\nbreak", ErrorClass.AUTH),
        ("http://127.0.0.1:9/v1", "schlüssel", ErrorClass.AUTH),
    ],
)
def test_wrong_settings_fail_without_being_sent(
    calling: Calling, base_url: str | None, key: str, error: ErrorClass
) -> None:
    client = OpenAIClient(base_url_for=lambda _: base_url, key_for=lambda _: key)
    with pytest.raises(CallFailed) as raised:
        calling(client, EXPERT, CHAT, 30.0)
    client.close()

    assert (raised.value.error_class, raised.value.sent) == (error, False)
    assert key not in str(raised.value)


def test_request_that_is_no_json_is_a_bad_request(calling: Calling, client: OpenAIClient) -> None:
    chat = replace(CHAT, extra={"logit_bias": object()})
    with pytest.raises(CallFailed, match="not JSON") as raised:
        calling(client, EXPERT, chat, 5.0)

    assert raised.value.error_class is ErrorClass.BAD_REQUEST


def test_oversized_answer_is_malformed(client: OpenAIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crew_moe.execution.wire.MAX_BODY", 100)

    assert failed(call, client, answer(b" " * 101)).error_class is ErrorClass.MALFORMED


def test_many_threads_and_loops_share_one_client(client: OpenAIClient) -> None:
    count = 40
    with raw(*[answer(GOOD)] * count) as server, ThreadPoolExecutor(8) as threads:
        ways: list[Any] = [call, acall]
        replies = list(threads.map(lambda n: ways[n % 2](client, at(server), CHAT, 10.0).text, range(count)))

    assert replies == ["Paris."] * count


def test_close_ends_calls_in_flight_and_all_later_ones(client: OpenAIClient) -> None:
    with raw(Play((), End.HANG)) as server, ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(call, client, at(server), CHAT, 30.0)
        assert server.arrived.wait(30.0)
        client.close()

        assert isinstance(hanging.exception(), CallFailed)
        with pytest.raises(CallFailed, match="closed") as raised:
            client.call(at(server), CHAT, timeout_s=5.0)
        assert not raised.value.sent
