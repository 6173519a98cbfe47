from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.execution.usage import counted
from crew_moe.sim import bodies

AT = datetime(2026, 3, 12, 6, 0, tzinfo=UTC)
CALL = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": '{"query": "red door"}'}}
SPOKEN = ChatReply(text="The  door\nis red. ", usage=Usage(input_tokens=7, output_tokens=5), model="m")
CALLED = ChatReply(text="", tool_calls=(CALL,), finish_reason="tool_calls", model="m")


def deltas(events: tuple[bytes, ...]) -> list[dict[str, Any]]:
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


def test_completion_holds_text_reason_usage_and_label() -> None:
    body = json.loads(bodies.completion(SPOKEN, AT, 1))

    assert body["choices"][0]["message"]["content"] == SPOKEN.text
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == 12
    assert body["system_fingerprint"] == "simulated; offline extractive, not an LLM"


def test_completion_with_a_call_has_no_content() -> None:
    message = json.loads(bodies.completion(CALLED, AT, 1))["choices"][0]["message"]

    assert (message["content"], message["tool_calls"]) == (None, [CALL])


def test_stream_adds_up_to_the_text() -> None:
    events = bodies.events(SPOKEN, AT, 1, include_usage=False)

    assert "".join(delta.get("content") or "" for delta in deltas(events)) == SPOKEN.text
    assert events[-1] == b"data: [DONE]\n\n"
    assert b"usage" not in b"".join(events)


def test_stream_ends_with_the_usage_when_asked() -> None:
    events = bodies.events(SPOKEN, AT, 1, include_usage=True)
    last = json.loads(events[-2].removeprefix(b"data: "))

    assert last["choices"] == []
    assert last["usage"] == bodies.usage(SPOKEN.usage)


def test_streamed_call_adds_up_to_its_arguments() -> None:
    parts = [delta["tool_calls"][0] for delta in deltas(bodies.events(CALLED, AT, 1, include_usage=False))[1:-1]]

    assert parts[0]["id"] == "call_1"
    assert "".join(part["function"]["arguments"] for part in parts) == CALL["function"]["arguments"]  # type: ignore[index]


def test_long_answer_is_streamed_in_a_bounded_number_of_events() -> None:
    events = bodies.events(ChatReply(text="word " * 5000), AT, 1, include_usage=False)

    assert len(events) <= bodies.STREAM_PIECES + 4


@pytest.mark.parametrize("status", bodies.ERRORS)
def test_error_has_openais_four_fields(status: int) -> None:
    error = json.loads(bodies.error(status))["error"]

    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]


def test_models_are_the_experts(registry: Registry) -> None:
    listed = json.loads(bodies.models(registry))

    assert [model["id"] for model in listed["data"]] == sorted(registry.by_id)
    assert listed["data"][0]["owned_by"] == "anthropic"


def test_ids_differ_from_call_to_call() -> None:
    first, second = (json.loads(bodies.completion(SPOKEN, AT, number))["id"] for number in (1, 2))

    assert first != second


def test_usage_tells_the_details_that_there_are() -> None:
    plain = bodies.usage(Usage(input_tokens=7, output_tokens=5))
    rich = Usage(
        input_tokens=70,
        output_tokens=50,
        cached_tokens=1,
        cache_write_tokens=2,
        input_audio_tokens=3,
        input_image_tokens=4,
        reasoning_tokens=5,
        output_audio_tokens=6,
        batch=True,
    )

    assert plain["prompt_tokens_details"] == {"cached_tokens": 0}
    assert "service_tier" not in plain
    assert counted(bodies.usage(rich)) == rich
