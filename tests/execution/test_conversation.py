"""Whatever a conversation looks like, it leaves here in the one form that every provider takes."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crew_moe.execution.conversation import NO_RESULT, instruct, merge_system, normalise, text_of

Message = dict[str, Any]


def user(content: object) -> Message:
    return {"role": "user", "content": content}


def calls(*names: str, content: object = None, ids: tuple[str | None, ...] = ()) -> Message:
    """An assistant's message with one call per name."""
    given_ids = ids or tuple(f"id-{name}" for name in names)
    made = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name, call_id in zip(names, given_ids, strict=True)
    ]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(call_id: str | None, content: object = "done", **fields: Any) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **fields}


def links(messages: list[Message]) -> list[tuple[str, str]]:
    """(role, id or text) of each message."""
    return [
        (message["role"], message.get("tool_call_id") or ",".join(c["id"] for c in message.get("tool_calls", ())))
        for message in messages
    ]


def test_plain_conversation_stays_as_it_is() -> None:
    chat = [{"role": "system", "content": "Be brief."}, user("Hi"), {"role": "assistant", "content": "Hello"}]

    assert normalise(chat) == chat


def test_calls_get_ids_of_nine_letters_and_digits_and_results_follow_them() -> None:
    chat = [user("Go"), calls("look", ids=("toolu_01A-b.c/d",)), result("toolu_01A-b.c/d", "found")]

    assert normalise(chat)[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call00000", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call00000", "name": "look", "content": "found"},
    ]


def test_missing_ids_are_paired_by_name_and_order() -> None:
    chat: list[Message] = [calls("look", "read", ids=(None, None)), result(None, "r", name="read"), result(None, "l")]

    assert [message.get("content") for message in normalise(chat)] == [None, "l", "r"]


def test_id_that_occurs_again_belongs_to_the_latest_call() -> None:
    chat = [calls("look", ids=("x",)), user("again"), calls("look", ids=("x",)), result("x", "second")]

    assert [message["content"] for message in normalise(chat)] == [None, NO_RESULT, "again", None, "second"]


def test_result_that_comes_late_moves_behind_its_call() -> None:
    chat = [calls("look"), user("by the way"), result("id-look", "found")]

    assert [message["role"] for message in normalise(chat)] == ["assistant", "tool", "user"]


def test_result_without_a_call_becomes_text_of_the_user() -> None:
    chat = [user("Go"), result("gone", "42 rows", name="query")]

    assert normalise(chat)[1] == user("Result of the tool query:\n42 rows")


def test_assistant_parts_a_user_from_a_result_where_that_is_asked_for() -> None:
    chat = [calls("look"), result("id-look"), user("Well?"), user("Now?")]
    parted = normalise(chat, user_after_tool=False)

    assert [message["role"] for message in parted] == ["assistant", "tool", "assistant", "user", "user"]
    assert len(normalise(chat)) == 4


def test_retired_function_calls_become_tool_calls() -> None:
    chat: list[Message] = [
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": '{"q": 1}'}},
        {"role": "function", "name": "look", "content": "found"},
    ]

    assert links(normalise(chat)) == [("assistant", "call00000"), ("tool", "call00000")]


def test_arguments_are_a_json_object_in_text_whatever_the_model_wrote() -> None:
    raw = ['{"q": 1}', {"q": 1}, "", None, "not json", "[1]"]
    made_calls = [{"function": {"name": "f", "arguments": text}} for text in raw]
    chat: list[Message] = [{"role": "assistant", "tool_calls": made_calls}]
    made = [json.loads(call["function"]["arguments"]) for call in normalise(chat)[0]["tool_calls"]]

    assert made == [{"q": 1}, {"q": 1}, {}, {}, {"text": "not json"}, {"text": "[1]"}]


def test_fields_of_one_provider_and_empty_messages_are_left_out() -> None:
    chat: list[Message] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": "", "refusal": None},
        {"role": "assistant", "content": "Hi", "reasoning_content": "hm", "annotations": []},
    ]

    assert normalise(chat) == [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "Hi"},
    ]


def test_without_a_system_role_its_texts_head_the_first_user_message() -> None:
    chat = [{"role": "system", "content": "Be brief."}, user("Hi"), {"role": "system", "content": "In French."}]

    assert normalise(chat, system=False) == [user("Be brief.\n\nIn French.\n\nHi")]
    assert merge_system([{"role": "system", "content": "Alone."}]) == [user("Alone.")]


def test_system_text_joins_a_message_of_parts_as_a_part() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}

    merged = merge_system([{"role": "system", "content": "Look."}, user([image])])
    assert merged == [user([{"type": "text", "text": "Look."}, image])]


def test_instruction_joins_the_system_message_or_stands_alone() -> None:
    system = {"role": "system", "content": "Be brief."}

    assert instruct([system, user("Hi")], "In JSON.")[0] == {"role": "system", "content": "Be brief.\n\nIn JSON."}
    assert instruct([user("Hi")], "In JSON.")[0] == {"role": "system", "content": "In JSON."}


def test_text_of_parts_and_of_other_values() -> None:
    assert text_of([{"type": "text", "text": "a"}, "b"]) == "a\nb"
    assert text_of({"rows": 2}) == '{"rows": 2}'
    assert text_of(None) == ""


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool", "function", "developer"]),
            "content": st.sampled_from([None, "", "text", [{"type": "text", "text": "part"}], {"a": 1}]),
        },
        optional={
            "tool_call_id": st.sampled_from(["x", "y", None]),
            "name": st.sampled_from(["f", "g"]),
            "tool_calls": st.lists(
                st.fixed_dictionaries(
                    {"function": st.fixed_dictionaries({"name": st.sampled_from(["f", "g"])})},
                    optional={"id": st.sampled_from(["x", "y", None])},
                ),
                max_size=3,
            ),
        },
    ),
    max_size=8,
)


@given(chat=MESSAGES, system=st.booleans())
def test_every_conversation_comes_out_well_formed(chat: list[Message], system: bool) -> None:
    before = copy.deepcopy(chat)
    made = normalise(chat, system=system)
    pending: list[str] = []
    seen: set[str] = set()
    for message in made:
        assert message["role"] in {"user", "assistant", "tool"} | ({"system"} if system else set())
        if message["role"] == "tool":
            assert pending.pop(0) == message["tool_call_id"]
            continue
        assert pending == []
        pending = [call["id"] for call in message.get("tool_calls", ())]
        assert message["content"] or pending
        assert not seen & set(pending)
        seen |= set(pending)
    assert pending == []
    assert chat == before


@given(chat=MESSAGES)
def test_normalising_twice_changes_nothing_more(chat: list[Message]) -> None:
    once = normalise(chat)

    assert normalise(once) == once
