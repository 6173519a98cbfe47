"""Experts that the local gate hosts, as a router's client calls them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from crew_moe.domain.chat import ChatChunk, ChatReply, ChatRequest
from crew_moe.domain.expert import Expert, Transport
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import ConfigError, HostFailed
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.hosted import HostedClient
from tests.execution.given import Player, expert
from tests.local_gate.engine_hosts import Held, Upper, opened
from tests.waiting import until

PATIENCE_S: Final = 10.0
CHAT: Final = ChatRequest(
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "an earlier turn"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": [{"type": "text", "text": "say abc"}]},
    ]
)


def hosted(name: str) -> Expert:
    made = expert(f"local/{name}", "local", transport=Transport.HOSTED)
    return replace(made, provider_model=f"local/{name}")


@pytest.fixture
def over() -> Iterator[Callable[..., HostedClient]]:
    made: list[HostedClient] = []

    def make(*hosts: Upper, **given: Any) -> HostedClient:
        client = HostedClient(lambda: opened(*hosts), **given)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def failed(client: HostedClient, name: str = "upper", **fields: Any) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        client.call(hosted(name), ChatRequest(messages=fields.pop("messages", CHAT.messages)), timeout_s=PATIENCE_S)
    return caught.value


def test_the_last_words_of_the_user_are_what_the_gate_sees(over: Callable[..., HostedClient]) -> None:
    host = Upper()

    reply = over(host).call(hosted("auto"), CHAT, timeout_s=PATIENCE_S)

    assert (reply.text, reply.model, reply.usage.output_tokens) == ("SAY ABC", "local/upper", 1)
    assert host.batches == [["say abc"]]
    assert host.works[0].chat is CHAT


def test_an_expert_is_asked_by_its_name(over: Callable[..., HostedClient]) -> None:
    client = over(Upper(), Upper("second"))

    assert client.call(hosted("second"), CHAT, timeout_s=PATIENCE_S).model == "local/second"


async def test_all_four_ways_give_the_same(over: Callable[..., HostedClient]) -> None:
    client = over(Upper())
    request = ChatRequest(messages=CHAT.messages, stop=["AB"])
    there = hosted("upper")

    replies = [
        client.call(there, request, timeout_s=PATIENCE_S),
        await client.acall(there, request, timeout_s=PATIENCE_S),
    ]
    streams = [
        list(client.stream(there, request, timeout_s=PATIENCE_S)),
        [chunk async for chunk in client.astream(there, request, timeout_s=PATIENCE_S)],
    ]

    assert {reply.text for reply in replies} == {"SAY "}
    assert {text_of(chunks) for chunks in streams} == {"SAY "}
    assert all(chunks[-1].reply is not None and chunks[-1].reply.text == "SAY " for chunks in streams)


def text_of(chunks: Sequence[ChatChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_a_stream_comes_character_by_character(over: Callable[..., HostedClient]) -> None:
    chunks = list(over(Upper()).stream(hosted("upper"), CHAT, timeout_s=PATIENCE_S))

    assert [chunk.text for chunk in chunks] == [*"SAY ABC", ""]
    assert [chunk.reply for chunk in chunks[:-1]] == [None] * 7


class Calling(Upper):
    """Takes chats, and calls a tool."""

    takes_chats = True

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        call = {"id": "1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
        return [Made(text="", reply=ChatReply(text="", tool_calls=(call,), finish_reason="tool_calls")) for _ in works]


def test_a_chat_with_tools_goes_to_a_host_that_takes_chats(over: Callable[..., HostedClient]) -> None:
    request = ChatRequest(messages=CHAT.messages, tools=[{"type": "function", "function": {"name": "read"}}])
    client = over(Calling("calling"))

    (chunk,) = client.stream(hosted("auto"), request, timeout_s=PATIENCE_S)

    assert chunk.reply is not None
    assert (chunk.reply.finish_reason, len(chunk.reply.tool_calls)) == ("tool_calls", 1)


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (Trouble.INVALID_INPUT, ErrorClass.BAD_REQUEST),
        (Trouble.INPUT_TOO_LONG, ErrorClass.CONTEXT_OVERFLOW),
        (Trouble.NOT_CAPABLE, ErrorClass.BAD_REQUEST),
        (Trouble.MISSING_EXTRA, ErrorClass.SKIPPED),
        (Trouble.MISSING_WEIGHTS, ErrorClass.SKIPPED),
        (Trouble.BAD_WEIGHTS, ErrorClass.SERVER),
        (Trouble.OUT_OF_MEMORY, ErrorClass.SERVER),
        (Trouble.MODEL_FAILED, ErrorClass.SERVER),
        (Trouble.UNAVAILABLE, ErrorClass.CONNECTION),
        (Trouble.OVERLOADED, ErrorClass.RATE_LIMIT),
        (Trouble.TIMEOUT, ErrorClass.TIMEOUT),
    ],
)
def test_a_refusal_is_a_failure_of_its_class(
    over: Callable[..., HostedClient], trouble: Trouble, error: ErrorClass
) -> None:
    def act(_: Sequence[str]) -> None:
        raise HostFailed(trouble, "as told", next_steps=("do this",), retry_after_s=2.0)

    found = failed(over(Upper(act=act)))

    assert (found.error_class, found.sent, found.retry_after_ms) == (error, False, 2000.0)
    assert found.detail == "upper: as told; do this"


@pytest.mark.parametrize(
    ("name", "messages", "error"),
    [
        ("nobody", CHAT.messages, ErrorClass.SKIPPED),
        ("upper", [{"role": "user", "content": "\0"}], ErrorClass.BAD_REQUEST),
        ("upper", [{"role": "user", "content": "x" * 20_000}], ErrorClass.CONTEXT_OVERFLOW),
    ],
)
def test_what_is_asked_wrongly_is_nobody_s_failure(
    over: Callable[..., HostedClient], name: str, messages: Any, error: ErrorClass
) -> None:
    assert failed(over(Upper()), name, messages=messages).error_class is error


def test_the_time_of_a_call_is_bounded(over: Callable[..., HostedClient]) -> None:
    held = Held()

    with pytest.raises(CallFailed, match=r"no answer came within 0\.05 s") as caught:
        over(Upper(act=held)).call(hosted("upper"), CHAT, timeout_s=0.05)
    held.go.set()

    assert caught.value.error_class is ErrorClass.TIMEOUT


class Endless(Upper):
    """Streams until nobody reads any more."""

    ended = False

    def stream(self, work: Work) -> Iterator[str]:
        try:
            while True:
                yield work.text
        finally:
            self.ended = True


def test_a_stream_that_is_left_ends_its_work(over: Callable[..., HostedClient]) -> None:
    host = Endless()
    coming = over(host).stream(hosted("upper"), CHAT, timeout_s=PATIENCE_S)
    next(coming)

    coming.close()  # type: ignore[attr-defined]  # it is a generator

    until(lambda: host.ended)


async def test_a_call_that_is_cancelled_ends(over: Callable[..., HostedClient]) -> None:
    held = Held()
    client = over(Upper(act=held))
    calling = asyncio.create_task(client.acall(hosted("upper"), CHAT, timeout_s=PATIENCE_S))
    assert await asyncio.to_thread(held.began.wait, PATIENCE_S)

    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling
    held.go.set()


def test_the_gate_is_opened_by_the_first_call_alone() -> None:
    count: list[int] = []

    def open_one() -> Any:
        count.append(1)
        return opened(Upper())

    client = HostedClient(open_one)
    assert count == []
    for _ in range(2):
        client.call(hosted("upper"), CHAT, timeout_s=PATIENCE_S)
    client.close()

    assert count == [1]
    assert failed(client).error_class is ErrorClass.SKIPPED


def test_a_mistake_in_the_configuration_is_a_failure_of_the_call() -> None:
    def wrong() -> Any:
        raise ConfigError("is wrong", file="local.yaml", key="gate")

    found = failed(HostedClient(wrong))

    assert (found.error_class, found.detail) == (ErrorClass.SKIPPED, "local.yaml: gate: is wrong")


def test_an_expert_with_an_address_is_asked_there(over: Callable[..., HostedClient]) -> None:
    remote, host = Player(), Upper()
    client = over(host, elsewhere=remote, url_for=lambda one: "http://there" if one.expert_id == "local/far" else None)

    client.call(hosted("far"), CHAT, timeout_s=PATIENCE_S)
    list(client.stream(hosted("far"), CHAT, timeout_s=PATIENCE_S))
    client.call(hosted("upper"), CHAT, timeout_s=PATIENCE_S)

    assert (remote.calls, len(host.batches)) == (["local/far"] * 2, 1)


def test_a_stream_outlives_no_close() -> None:
    client = HostedClient(lambda: opened(Endless()))
    coming = client.stream(hosted("upper"), CHAT, timeout_s=0.5)
    next(coming)
    client.close()
    with pytest.raises(CallFailed):
        list(coming)

    assert [thread.name for thread in threading.enumerate() if thread.name == "crew-moe-hosted"] == []


def test_a_forked_child_closes_nothing_of_its_parent_s(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = opened(Upper())
    client = HostedClient(lambda: gate)
    client.call(hosted("upper"), CHAT, timeout_s=PATIENCE_S)
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        client.close()

    assert not gate.health().closed
    gate.close()
