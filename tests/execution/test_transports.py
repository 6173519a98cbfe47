"""Each expert is reached by the client of its transport."""

from __future__ import annotations

import pytest

from crew_moe.domain.chat import ChatChunk, ChatRequest
from crew_moe.domain.expert import Transport
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import MissingExtra
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.transports import Transports
from tests.execution.given import CHAT, EXPERT, Player, expert, reply

LOCAL = expert("local/extractive", "local", transport=Transport.EXTRACTIVE)
TEXT = ChatRequest(
    messages=[{"role": "user", "content": "When did it fail?\n\nThe door is green. The pump did fail at noon."}]
)


def test_registered_client_serves_its_transport_only() -> None:
    http, native = Player(), Player()
    transports = Transports({Transport.OPENAI: http})
    transports.register(Transport.NATIVE, native)
    transports.call(EXPERT, CHAT, timeout_s=1.0)
    transports.call(expert("n", transport=Transport.NATIVE), CHAT, timeout_s=1.0)

    assert (http.calls, native.calls) == (["a"], ["n"])


async def test_all_four_ways_pass_through() -> None:
    transports = Transports({Transport.OPENAI: Player()})
    pieces = [piece async for piece in transports.astream(EXPERT, CHAT, timeout_s=1.0)]

    assert await transports.acall(EXPERT, CHAT, timeout_s=1.0) == reply()
    assert pieces == list(transports.stream(EXPERT, CHAT, timeout_s=1.0))


def test_transport_without_a_client_fails_and_blames_nobody() -> None:
    with pytest.raises(CallFailed) as failed:
        Transports().call(EXPERT, CHAT, timeout_s=1.0)

    assert (failed.value.error_class, failed.value.sent) == (ErrorClass.SKIPPED, False)


async def test_extractive_expert_answers_in_this_process() -> None:
    transports = Transports()
    whole = transports.call(LOCAL, TEXT, timeout_s=1.0)

    assert whole.text == "The pump did fail at noon." or "noon" in whole.text
    assert await transports.acall(LOCAL, TEXT, timeout_s=1.0) == whole
    assert list(transports.stream(LOCAL, TEXT, timeout_s=1.0)) == [ChatChunk(text=whole.text, reply=whole)]
    assert [piece async for piece in transports.astream(LOCAL, TEXT, timeout_s=1.0)][-1].reply == whole


def test_extractive_expert_keeps_to_stop_sequences() -> None:
    cut = Transports().call(LOCAL, ChatRequest(messages=TEXT.messages, stop=(" at ",)), timeout_s=1.0)

    assert " at " not in cut.text


def test_missing_library_is_a_failure_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise MissingExtra("crew", "summa")

    monkeypatch.setattr("crew_moe.local_gate.extractive.reply", absent)
    with pytest.raises(CallFailed, match=r"crew-moe\[crew\]") as failed:
        Transports().call(LOCAL, TEXT, timeout_s=1.0)

    assert not failed.value.sent


def test_closing_closes_every_client() -> None:
    http, native = Player(), Player()
    Transports({Transport.OPENAI: http, Transport.NATIVE: native}).close()

    assert (http.closed, native.closed) == (True, True)
