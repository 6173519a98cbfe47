from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.sim import chat
from crew_moe.sim.chat import Refusal
from crew_moe.sim.switchboard import Queued

TOOL = {
    "type": "function",
    "function": {"name": "search", "parameters": {"properties": {"query": {"type": "string"}}, "required": ["query"]}},
}
DOOR = "Summarise it.\n\nThe door is red. The door was green."


def body(text: str = DOOR, **fields: Any) -> dict[str, Any]:
    return {"model": "x", "messages": [{"role": "user", "content": text}], **fields}


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"{", None),
        (b"[]", "model"),
        (b'{"messages": []}', "model"),
        (b'{"model": "x"}', "messages"),
        (b'{"model": "x", "messages": []}', "messages"),
        (b'{"model": "x", "messages": [{"content": "no role"}]}', "messages"),
        (b'{"model": "x", "messages": [{"role": "user"}], "tools": [5]}', "tools"),
        (b'{"model": "x", "messages": [{"role": "user"}], "stop": [5]}', "stop"),
    ],
)
def test_what_is_no_chat_request_is_refused(raw: bytes, param: str | None) -> None:
    refused = chat.parse(raw)

    assert isinstance(refused, Refusal)
    assert refused.param == param


NAMES = ["role", "content", "tool_calls", "function", "name", "arguments", "parameters", "properties", "type", "text"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["user", "tool", "object", "text", "json_object"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ["messages", "tools", "tool_choice", "response_format", "stop", "stream_options", "max_tokens", "temperature"]


@settings(max_examples=200, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON), spoken=st.booleans())
def test_no_request_breaks_the_provider(registry: Registry, fields: dict[str, Any], spoken: bool) -> None:
    messages = {"messages": [{"role": "user", "content": "Hi"}]} if spoken else {}
    parsed = chat.parse(json.dumps({"model": "gpt-4o", **fields, **messages}).encode())

    if not isinstance(parsed, Refusal):
        chat.refusal(parsed, registry["gpt-4o"])
        chat.compose(parsed, registry["gpt-4o"], None)


@pytest.mark.parametrize(
    ("expert_id", "fields", "param"),
    [
        ("o1", {"temperature": 0.2}, "temperature"),
        ("o1", {"max_tokens": 10}, "max_tokens"),
        ("o1", {"stop": ["x"]}, "stop"),
        ("o1-mini", {"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ("o1-mini", {"tools": [TOOL]}, "tools"),
        ("claude-haiku-4", {"seed": 1}, "seed"),
        ("claude-haiku-4", {"response_format": {"type": "json_schema"}}, "response_format"),
        ("command-r", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ("claude-haiku-4", {"max_tokens": 4097}, "max_tokens"),
    ],
)
def test_expert_refuses_what_it_does_not_take(
    registry: Registry, expert_id: str, fields: dict[str, Any], param: str
) -> None:
    refused = chat.refusal(body(**fields), registry[expert_id])

    assert refused is not None
    assert refused.param == param


def test_expert_takes_what_it_lists(registry: Registry) -> None:
    request = body(temperature=0.2, stop=["x"], seed=1, tools=[TOOL], max_tokens=10, response_format={"type": "text"})

    assert chat.refusal(request, registry["gpt-4o"]) is None
    assert chat.refusal(body(temperature=1, max_completion_tokens=10), registry["o1"]) is None


def test_text_beyond_the_window_is_a_context_overflow(registry: Registry) -> None:
    refused = chat.refusal(body("word " * 30_000), registry["mistral-small-2"])

    assert refused is not None
    assert refused.code == "context_length_exceeded"
    assert "32000 tokens" in refused.message


def test_answer_carries_the_providers_own_model_name(registry: Registry) -> None:
    assert chat.compose(body(), registry["gpt-4o"], None).model == "gpt-4o-2024-11-20"


def test_stop_sequence_ends_the_answer_and_the_bill(registry: Registry) -> None:
    whole = chat.compose(body(), registry["gpt-4o"], None)
    cut = chat.compose(body(stop=[" is", "never"]), registry["gpt-4o"], None)

    assert cut.text == "The door"
    assert cut.usage.output_tokens == 2 < whole.usage.output_tokens


@pytest.mark.parametrize(
    ("choice", "called"),
    [("auto", True), ("none", False), ({"function": {"name": "search"}}, True), ({"function": {"name": "x"}}, False)],
)
def test_tool_choice_is_obeyed(registry: Registry, choice: Any, called: bool) -> None:
    answer = chat.compose(body(tools=[TOOL], tool_choice=choice), registry["gpt-4o"], None)

    assert bool(answer.tool_calls) is called


def test_limit_of_the_request_cuts_the_answer(registry: Registry) -> None:
    assert chat.compose(body(max_tokens=3), registry["gpt-4o"], None).usage.output_tokens == 3


def test_json_schema_is_answered_in_json(registry: Registry) -> None:
    schema = {"type": "object", "properties": {"colour": {"enum": ["green", "red"]}}, "required": ["colour"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = chat.compose(body("The door is red.", response_format=wanted), registry["gpt-4o"], None)

    assert json.loads(answer.text) == {"colour": "red"}


def test_queued_answer_is_given_as_it_is(registry: Registry) -> None:
    usage = Usage(input_tokens=9, output_tokens=8, reasoning_tokens=7)
    stated = chat.compose(body(), registry["o1"], Queued(text="Exactly.", usage=usage))
    estimated = chat.compose(body(), registry["o1"], Queued(text="Exactly."))

    assert (stated.text, stated.usage) == ("Exactly.", usage)
    assert estimated.usage == Usage(input_tokens=13, output_tokens=2)
