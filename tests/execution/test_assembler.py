"""A streamed answer is put together as if it had come whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.execution.assembler import Assembler
from crew_moe.execution.failure import CallFailed
from tests.execution.test_failure import JSON

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 20, "completion_tokens": 5}


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def delta(finish: str | None = None, **fields: Any) -> bytes:
    return event({"model": "a-2026", "choices": [{"delta": fields, "finish_reason": finish}]})


def tool(index: int | None, call_id: str | None, name: str | None, arguments: object) -> bytes:
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": index, "id": call_id, "function": function}])


def assembled(*pieces: bytes, stop: tuple[str, ...] = ()) -> tuple[str, ChatReply]:
    """The text as it was given out, and the whole."""
    parts = Assembler(stop=stop)
    text = "".join(parts.feed(piece) for piece in pieces)
    last = parts.finish()
    assert last.reply is not None
    return text + last.text, last.reply


def test_text_comes_as_it_arrives_and_usage_from_the_last_event() -> None:
    usage = event({"choices": [], "usage": USAGE})
    text, reply = assembled(delta(content="Par"), delta(content="is."), delta("stop"), usage, DONE)

    assert text == "Paris."
    assert reply == ChatReply(text="Paris.", usage=Usage(input_tokens=20, output_tokens=5), model="a-2026")


def test_stream_that_ends_without_done_after_its_finish_is_whole() -> None:
    assert assembled(delta(content="Paris."), delta("stop"))[0] == "Paris."


def test_stream_that_ends_in_the_middle_is_malformed() -> None:
    with pytest.raises(CallFailed, match="ended in the middle"):
        assembled(delta(content="Par"))


def test_error_in_mid_stream_is_that_error() -> None:
    with pytest.raises(CallFailed) as failed:
        assembled(delta(content="Par"), event({"error": {"type": "overloaded_error", "message": "Overloaded"}}))

    assert failed.value.error_class is ErrorClass.SERVER


def test_pieces_of_tool_calls_are_joined_by_index() -> None:
    _, reply = assembled(
        tool(0, "x", "look", '{"q'),
        tool(1, "y", "read", ""),
        tool(0, None, None, '": 1}'),
        tool(1, None, None, "{}"),
        delta("tool_calls"),
        DONE,
    )

    assert [(call["id"], call["function"]["arguments"]) for call in reply.tool_calls] == [
        ("x", '{"q": 1}'),
        ("y", "{}"),
    ]


@pytest.mark.parametrize("index", [None, 0])
def test_whole_calls_under_one_index_or_none_are_kept_apart(index: int | None) -> None:
    _, reply = assembled(tool(index, "x", "look", '{"a": 1}'), tool(index, "y", "read", {"b": 2}), delta("stop"))

    arguments = [call["function"]["arguments"] for call in reply.tool_calls]
    assert arguments == ['{"a": 1}', '{"b": 2}']


def test_stop_sequence_ends_text_and_stream_alike() -> None:
    pieces = [delta(content="Act\nObs"), delta(content="ervation: 1"), delta("stop"), DONE]

    assert assembled(*pieces, stop=("\nObservation:",)) == ("Act", ChatReply(text="Act", model="a-2026"))


def test_refusal_is_a_refusal() -> None:
    with pytest.raises(CallFailed) as failed:
        assembled(delta(refusal="I can't"), delta("stop"), DONE)

    assert failed.value.error_class is ErrorClass.REFUSED


def test_event_that_is_no_json_is_malformed() -> None:
    with pytest.raises(CallFailed) as failed:
        assembled(b"data: oops\n\n")

    assert failed.value.error_class is ErrorClass.MALFORMED


@given(
    words=st.lists(st.text(max_size=4), min_size=1).filter(any),
    stops=st.lists(st.text(min_size=1, max_size=2), max_size=2),
)
def test_what_was_given_out_is_the_text_of_the_reply(words: list[str], stops: list[str]) -> None:
    text, reply = assembled(*(delta(content=word) for word in words), delta("stop"), stop=tuple(stops))

    assert text == reply.text


def test_an_empty_answer_is_malformed() -> None:
    with pytest.raises(CallFailed) as failed:
        assembled(delta(content=""), delta("length"))

    assert failed.value.error_class is ErrorClass.MALFORMED


CALLS = st.lists(st.fixed_dictionaries({}, optional={"index": JSON, "id": JSON, "function": JSON}) | JSON, max_size=2)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {"delta": st.fixed_dictionaries({}, optional={"content": JSON, "tool_calls": CALLS, "refusal": JSON})},
                optional={"finish_reason": JSON},
            ),
            max_size=2,
        ),
        "usage": JSON,
        "model": JSON,
    },
)


@given(events=st.lists(EVENTS.map(event) | st.binary(), max_size=4))
def test_any_stream_gives_a_reply_or_a_failure(events: list[bytes]) -> None:
    try:
        text, reply = assembled(*events)
    except CallFailed:
        return
    assert text == reply.text
