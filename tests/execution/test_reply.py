"""An answer is believed only as far as it makes sense."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.execution.failure import CallFailed
from crew_moe.execution.reply import parse_reply
from tests.execution.test_failure import JSON

USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


def answer(message: object, finish: str | None = "stop", **fields: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": USAGE, **fields}).encode()


def refusal(body: bytes) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        parse_reply(body)
    return failed.value


def test_text_usage_and_model_are_read() -> None:
    read = parse_reply(answer({"content": "Paris."}, model="a-2026"))

    assert read == ChatReply(text="Paris.", usage=Usage(input_tokens=20, output_tokens=5), model="a-2026")


def test_parts_of_text_are_joined() -> None:
    assert parse_reply(answer({"content": [{"type": "text", "text": "Par"}, {"text": "is."}]})).text == "Paris."


def test_text_is_cut_at_a_stop_sequence_and_says_so() -> None:
    read = parse_reply(answer({"content": "Act\nObservation: x"}, "length"), stop=("\nObservation:",))

    assert (read.text, read.finish_reason) == ("Act", "stop")


def test_tool_calls_are_completed() -> None:
    call = {"function": {"name": "look", "arguments": {"q": 1}}}
    read = parse_reply(answer({"content": None, "tool_calls": [call]}, None))

    assert read.finish_reason == "tool_calls"
    wanted = {"id": "call00000", "type": "function", "function": {"name": "look", "arguments": '{"q": 1}'}}
    assert read.tool_calls == (wanted,)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"text": "old api"}]}',
        b"[" * 100_000,
        answer({"content": None}),
        answer({"content": None, "tool_calls": [{"function": {"arguments": "{}"}}]}),
    ],
    ids=["html", "list", "no choice", "no message", "deep", "silent", "nameless call"],
)
def test_nonsense_is_malformed(body: bytes) -> None:
    assert refusal(body).error_class is ErrorClass.MALFORMED


@pytest.mark.parametrize(
    "body", [answer({"content": None, "refusal": "I can't."}), answer({"content": "As"}, "content_filter")]
)
def test_refusals_and_the_content_filter_are_refusals_that_tell_what_they_cost(body: bytes) -> None:
    failure = refusal(body)

    assert failure.error_class is ErrorClass.REFUSED
    assert failure.usage == Usage(input_tokens=20, output_tokens=5)


def test_error_in_place_of_choices_is_that_error() -> None:
    assert refusal(b'{"error": {"code": 503, "message": "no capacity"}}').error_class is ErrorClass.SERVER


SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "message": st.fixed_dictionaries(
                        {}, optional={"content": JSON, "tool_calls": st.lists(JSON, max_size=2) | JSON, "refusal": JSON}
                    )
                    | JSON,
                    "finish_reason": JSON,
                },
            ),
            max_size=2,
        )
        | JSON,
        "usage": st.fixed_dictionaries(
            {}, optional={"prompt_tokens": JSON, "completion_tokens": JSON, "prompt_tokens_details": JSON}
        )
        | JSON,
        "error": JSON,
    },
)


@given(body=SHAPED.map(lambda data: json.dumps(data).encode()) | st.binary())
def test_any_body_gives_a_reply_or_a_failure(body: bytes) -> None:
    try:
        read = parse_reply(body, stop=("a",))
    except CallFailed:
        return
    assert isinstance(read.text, str)
    assert all(isinstance(call["function"]["arguments"], str) for call in read.tool_calls)
