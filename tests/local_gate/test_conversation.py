from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crew_moe.local_gate.extractive.conversation import read

Chat = Callable[..., list[dict[str, Any]]]

REACT = """You are Auditor.
You ONLY have access to the following tools:

Tool Name: read_doc
Tool Arguments: {"properties": {"path": {"type": "string"}}, "required": ["path"], "type": "object"}
Tool Description: Reads a document.

Thought: think
Action: one of [read_doc]
Observation: the result of the action
Final Answer: the final answer"""


def test_task_is_parted_from_criteria_and_context(crew_chat: Chat) -> None:
    conversation = read(crew_chat("Write a brief", expected="one page", context="The door is red."))

    assert (conversation.request, conversation.expected) == ("Write a brief", "one page")
    assert conversation.source == "The door is red."


@pytest.mark.parametrize(
    "task",
    [
        "Triage it.\n\nDocument:\nThe door is red.",
        "Triage the report.\n\n```\nThe door is red.",
        "Triage it <document>The door is red.",
        "Triage this text: The door is red.",
        "Triage it.\n\nThe door is red.",
    ],
)
def test_text_inside_the_task_is_the_source(crew_chat: Chat, task: str) -> None:
    conversation = read(crew_chat(task))

    assert conversation.source == "The door is red."
    assert conversation.request.startswith("Triage")


def test_markdown_document_begins_at_its_heading(crew_chat: Chat, report: str) -> None:
    conversation = read(crew_chat(f"Triage it.\n\n{report}"))

    assert conversation.request == "Triage it."
    assert conversation.source.startswith("# Outage of the checkout")


def test_further_instructions_are_no_source_when_there_is_context(crew_chat: Chat) -> None:
    conversation = read(crew_chat("Write a brief.\n\nKeep it short.", context="The door is red."))

    assert conversation.source == "The door is red."


def test_lone_request_is_its_own_source() -> None:
    assert read([{"role": "user", "content": "The door is red."}]).source == "The door is red."


def test_earlier_turns_are_the_source_of_a_bare_question() -> None:
    chat = [{"role": "user", "content": "The door is red."}, {"role": "user", "content": "Which colour?"}]

    assert read(chat).source == "The door is red."


def test_word_observation_in_the_system_prompt_is_no_result() -> None:
    conversation = read([{"role": "system", "content": REACT}, {"role": "user", "content": "\nCurrent Task: x"}])

    assert not conversation.answered
    assert conversation.react
    assert [tool["function"]["name"] for tool in conversation.listed_tools] == ["read_doc"]


def test_observation_in_the_assistants_turn_is_a_result() -> None:
    turn = {"role": "assistant", "content": "Thought: x\nAction: read_doc\nObservation: The door is red."}
    conversation = read([{"role": "system", "content": REACT}, {"role": "user", "content": "Current Task: x"}, turn])

    assert conversation.answered
    assert conversation.source == "The door is red."


def test_result_of_a_tool_comes_before_the_context(crew_chat: Chat) -> None:
    conversation = read([*crew_chat("x", context="Context."), {"role": "tool", "content": "Result."}])

    assert conversation.answered
    assert conversation.source == "Result.\n\nContext."


def test_reminder_after_a_tool_does_not_replace_the_task(crew_chat: Chat) -> None:
    chat = [*crew_chat("Write a brief", context="The door is red."), {"role": "user", "content": "Go on."}]

    assert read(chat).request == "Write a brief"


def test_schema_asked_for_in_words_is_found(crew_chat: Chat) -> None:
    chat = crew_chat("Write it")
    words = 'Format your final answer according to the following OpenAPI schema: {"type": "object"}\n\nNo more.'
    chat[1]["content"] = chat[1]["content"].replace("\n\nProvide", f"\n{words}\n\nProvide")

    assert read(chat).schema == {"type": "object"}


def test_typed_parts_are_read_as_text() -> None:
    parts = [{"type": "text", "text": "The door is red."}, {"type": "image_url", "image_url": {"url": "x"}}]

    assert "The door is red." in read([{"role": "user", "content": parts}]).source


@pytest.mark.parametrize("messages", [[], [{"role": "user"}], [{"role": "assistant", "content": None}], [{}]])
def test_chat_without_words_is_empty(messages: list[dict[str, Any]]) -> None:
    assert read(messages).source.strip() == ""
