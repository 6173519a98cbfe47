from __future__ import annotations

import json
from typing import Any

from crew_moe.local_gate.extractive.supply import Supply
from crew_moe.local_gate.extractive.tools import as_action, choose_call, without_unknown


def tool(name: str, *fields: str, description: str = "") -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {field: {"type": "string"} for field in fields},
        "required": list(fields),
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def supply(request: str, text: str = "The door is red.") -> Supply:
    return Supply(request=request, text=text, title="", summary=text, sentences=(text,), keywords=("door", "red"))


def test_call_has_openais_shape_and_filled_arguments() -> None:
    call = choose_call([tool("read_doc", "path")], supply("Read notes/a.md and tell me."))

    assert call is not None
    assert call["type"] == "function"
    assert call["id"].startswith("call_")
    assert call["function"] == {"name": "read_doc", "arguments": '{"path": "notes/a.md"}'}


def test_tool_that_shares_words_with_the_request_is_chosen() -> None:
    tools = [tool("web_search", "query"), tool("read_document", "query")]
    call = choose_call(tools, supply("Read the document."))

    assert call is not None
    assert call["function"]["name"] == "read_document"


def test_tool_whose_arguments_are_unknown_is_not_called() -> None:
    assert choose_call([tool("read_doc", "path")], supply("Tell me about it.")) is None


def test_tool_without_arguments_needs_a_word_in_common() -> None:
    tools = [tool("list_experts")]

    assert choose_call(tools, supply("Tell me about it.")) is None
    assert choose_call(tools, supply("Which experts are there?")) is not None


def test_delegation_fills_coworker_task_and_context() -> None:
    about = "Delegate a specific task to one of the following coworkers: Auditor, Writer\nThe input is..."
    delegate = tool("delegate_work_to_coworker", "task", "context", "coworker", description=about)
    call = choose_call([delegate], supply("Let the writer write a brief."))

    assert call is not None
    assert json.loads(call["function"]["arguments"]) == {
        "task": "Let the writer write a brief.",
        "context": "The door is red.",
        "coworker": "Writer",
    }


def test_same_question_gives_the_same_call_id() -> None:
    first, second = (choose_call([tool("search", "query")], supply("Find it.")) for _ in range(2))

    assert first == second


def test_hosted_tools_of_a_provider_are_left_out() -> None:
    assert without_unknown([{"type": "web_search"}, "nonsense", tool("search", "query")]) == (tool("search", "query"),)


def test_action_in_words_names_tool_and_input() -> None:
    call = choose_call([tool("search", "query")], supply("Find it."))

    assert call is not None
    assert as_action(call).endswith('Action: search\nAction Input: {"query": "door red"}')
