"""The request is put in the words that the expert takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Capability, Parameter
from crew_moe.execution.payload import encode, payload
from tests.execution.given import ALL, CHAT, EXPERT

SCHEMA = {"type": "json_schema", "json_schema": {"name": "city", "schema": {"required": ["city"]}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


def body(chat: ChatRequest = CHAT, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    return payload(replace(EXPERT, **fields), chat, stream=stream)


def test_bare_chat_sends_model_and_messages_alone() -> None:
    assert body() == {"model": "a-live", "messages": list(CHAT.messages)}


def test_parameters_that_the_expert_takes_are_sent() -> None:
    chat = replace(CHAT, max_output_tokens=9, temperature=0.0, stop=("END",), seed=7, tools=(TOOL,), tool_choice="auto")
    sent = body(chat)

    assert (sent["max_tokens"], sent["temperature"], sent["stop"], sent["seed"]) == (9, 0.0, ["END"], 7)
    assert (sent["tools"], sent["tool_choice"]) == ([TOOL], "auto")


def test_parameters_that_it_does_not_take_are_left_out() -> None:
    chat = replace(CHAT, temperature=0.5, stop=("END",), seed=7)

    assert body(chat, parameters=frozenset({Parameter.SYSTEM})) == body(CHAT)


def test_limit_goes_by_the_name_that_reasoning_models_want() -> None:
    sent = body(replace(CHAT, max_output_tokens=9), parameters=ALL | {Parameter.MAX_COMPLETION_TOKENS})

    assert sent["max_completion_tokens"] == 9
    assert "max_tokens" not in sent


def test_more_than_four_stops_are_not_sent() -> None:
    assert body(replace(CHAT, stop=tuple("abcdef")))["stop"] == list("abcd")


def test_stream_asks_for_the_usage() -> None:
    assert body(stream=True)["stream_options"] == {"include_usage": True}


def test_extra_fields_are_sent_but_override_nothing() -> None:
    sent = body(replace(CHAT, extra={"model": "other", "reasoning_effort": "low"}))

    assert (sent["model"], sent["reasoning_effort"]) == ("a-live", "low")


def test_tool_choice_without_tools_is_left_out() -> None:
    assert "tool_choice" not in body(replace(CHAT, tool_choice="required"))


def test_schema_is_sent_to_those_who_take_it() -> None:
    assert body(replace(CHAT, response_format=SCHEMA))["response_format"] == SCHEMA


@pytest.mark.parametrize(("capabilities", "mode"), [({Capability.JSON}, {"type": "json_object"}), (set(), None)])
def test_schema_is_told_in_words_to_those_who_do_not(capabilities: set[Capability], mode: object) -> None:
    chat = replace(CHAT, response_format=SCHEMA)
    sent = body(chat, parameters=frozenset({Parameter.SYSTEM}), capabilities=frozenset(capabilities))

    assert sent.get("response_format") == mode
    assert json.dumps(SCHEMA["json_schema"]["schema"]) in sent["messages"][0]["content"]  # type: ignore[index]


def test_json_mode_is_told_in_words_to_those_who_lack_it() -> None:
    chat = replace(CHAT, response_format={"type": "json_object"})

    assert body(chat)["response_format"] == {"type": "json_object"}
    assert "JSON" in body(chat, capabilities=frozenset())["messages"][0]["content"]


def test_plain_text_format_is_no_format() -> None:
    assert body(replace(CHAT, response_format={"type": "text"})) == body()


def test_instruction_reaches_a_model_without_system_role_as_the_users() -> None:
    sent = body(replace(CHAT, response_format=SCHEMA), parameters=frozenset(), capabilities=frozenset())

    assert [message["role"] for message in sent["messages"]] == ["user"]
    assert sent["messages"][0]["content"].endswith("What is the capital of France?")


def test_provider_that_forbids_it_gets_no_user_right_behind_a_result() -> None:
    call = {"id": "x", "function": {"name": "look", "arguments": "{}"}}
    asked = {"role": "assistant", "tool_calls": [call]}
    found = {"role": "tool", "tool_call_id": "x", "content": "found"}
    chat = ChatRequest(messages=[asked, found, *CHAT.messages])

    assert [message["role"] for message in body(chat)["messages"]] == ["assistant", "tool", "user"]
    roles = [message["role"] for message in body(chat, provider="mistral")["messages"]]
    assert roles == ["assistant", "tool", "assistant", "user"]


def test_body_is_utf8_whatever_the_text_holds() -> None:
    assert encode({"text": "é\ud800"}) == '{"text":"é?"}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        encode({"text": float("nan")})
