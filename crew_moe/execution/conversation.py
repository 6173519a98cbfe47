"""Conversations that any provider takes: what one expert began, another one can go on with.

Pure functions over messages in OpenAI's chat format. They never change what they are given. What providers
refuse, and what becomes of it here:

- tool calls without an id, or two with the same: every call is given an id of its own, in order, and its result with
  it (nine letters and digits, which is the narrowest rule among providers);
- a result that does not stand right behind its call is moved there; a call without a result is given one that says so;
- a result without a call becomes text of the user;
- where no user may speak right behind a result, the assistant says a word between them;
- `content`: null where an assistant only calls tools, a string for results; a message that says nothing is left out;
- fields that one provider added (`refusal`, `reasoning_content`, ...) go, and the retired `function_call` and
  `function` role become what took their place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

Message = Mapping[str, Any]

NO_RESULT: Final = "(no result was recorded)"
NOTED: Final = "Noted."
_ROLES: Final[Mapping[str, str]] = {"developer": "system", "function": "tool"}


def normalise(
    messages: Iterable[Message], *, system: bool = True, user_after_tool: bool = True
) -> list[dict[str, Any]]:
    """`messages` as every provider takes them.

    Without `system`, those of the system join the first user message; without `user_after_tool`, an assistant's word
    parts each user message from a tool result before it.
    """
    made = _paired([_renamed(message) for message in messages])
    if not system:
        made = merge_system(made)
    return made if user_after_tool else _parted(made)


def merge_system(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """For models without a system role: its texts stand at the head of the first user message."""
    told = "\n\n".join(text_of(message.get("content")) for message in messages if message["role"] == "system")
    rest = [dict(message) for message in messages if message["role"] != "system"]
    if not told:
        return rest
    first = next((message for message in rest if message["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": told}, *rest]
    said = first["content"]
    first["content"] = f"{told}\n\n{said}" if isinstance(said, str) else [{"type": "text", "text": told}, *said]
    return rest


def instruct(messages: Sequence[Message], instruction: str) -> list[Message]:
    """`instruction` at the end of the first system message, or as one at the head."""
    for index, message in enumerate(messages):
        if message.get("role") in ("system", "developer"):
            told = {**message, "content": f"{text_of(message.get('content'))}\n\n{instruction}"}
            return [*messages[:index], told, *messages[index + 1 :]]
    return [{"role": "system", "content": instruction}, *messages]


def text_of(content: object) -> str:
    """The text of a message's content: a string, a list of parts, null, or anything else as JSON."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(isinstance(part, str) or _is_text(part) for part in content):
        return "\n".join(part if isinstance(part, str) else str(part["text"]) for part in content)
    return json.dumps(content, ensure_ascii=False, default=str)


def said(messages: Sequence[Message]) -> Iterator[str]:
    """Everything that the conversation says, tool calls included: what no error detail may quote."""
    for message in messages:
        yield text_of(message.get("content"))
        yield text_of(message.get("tool_calls"))


def _is_text(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") in ("text", "input_text", "output_text") and "text" in part


def _renamed(message: Message) -> dict[str, Any]:
    """Today's name for the role, and the retired `function_call` as a tool call."""
    role = str(message.get("role", "user"))
    calls = list(message.get("tool_calls") or ())
    if not calls and message.get("function_call"):
        calls = [{"function": message["function_call"]}]
    return {**message, "role": _ROLES.get(role, role), "tool_calls": calls if role == "assistant" else []}


def _paired(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every call directly followed by its results; results without a call as text; empty messages left out."""
    answers = _answers(messages)
    matched = set(answers.values())
    out: list[dict[str, Any]] = []
    count = 0
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if index not in matched:
                out.append(_orphan(message))
        elif message["tool_calls"]:
            results = [answers.get((index, offset)) for offset in range(len(message["tool_calls"]))]
            texts = [NO_RESULT if at is None else text_of(messages[at].get("content")) for at in results]
            out.extend(_turn(message, texts, count))
            count += len(texts)
        elif (plain := _plain(message))["content"]:
            out.append(plain)
    return out


def _answers(messages: Sequence[Message]) -> dict[tuple[int, int], int]:
    """(message, call in it) -> the message with its result: by id, else by name, else the first that waits.

    Later messages come first: ids that occur again belong to the latest call that bears them.
    """
    answers: dict[tuple[int, int], int] = {}
    waiting: list[tuple[int, int]] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            found = next((at for at in waiting if _fits(messages[at[0]]["tool_calls"][at[1]], message)), None)
            if found is not None:
                waiting.remove(found)
                answers[found] = index
        waiting[:0] = [(index, offset) for offset in range(len(message["tool_calls"]))]
    return answers


def _parted(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for message in messages:
        if out and (out[-1]["role"], message["role"]) == ("tool", "user"):
            out.append({"role": "assistant", "content": NOTED})
        out.append(message)
    return out


def _fits(call: Mapping[str, Any], result: Message) -> bool:
    if result.get("tool_call_id"):
        return bool(call.get("id") == result["tool_call_id"])
    return not result.get("name") or (call.get("function") or {}).get("name") == result["name"]


def _turn(message: Message, results: Sequence[str], count: int) -> list[dict[str, Any]]:
    """The assistant's message with its calls, and the results behind it; ids go on from `count`."""
    ids = [f"call{count + offset:05d}" for offset in range(len(results))]
    plain = _plain(message)
    plain["content"] = plain["content"] or None
    calls = [_call(call, call_id) for call, call_id in zip(message["tool_calls"], ids, strict=True)]
    plain["tool_calls"] = calls
    return [plain, *(_result(call, text) for call, text in zip(calls, results, strict=True))]


def _result(call: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A tool's message; the name is there for those who ask for it."""
    return {"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"], "content": text}


def _call(call: Mapping[str, Any], call_id: str) -> dict[str, Any]:
    function = call.get("function") or {}
    named = {"name": str(function.get("name", "")), "arguments": _arguments(function.get("arguments"))}
    return {"id": call_id, "type": "function", "function": named}


def _arguments(value: object) -> str:
    """A JSON object as text. What a model wrote instead of one is kept under `text`: providers parse this field."""
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    text = str(value or "{}")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    return text if isinstance(parsed, dict) else json.dumps({"text": text}, ensure_ascii=False)


def _plain(message: Message) -> dict[str, Any]:
    """The message without what only one provider knows."""
    content = message.get("content")
    kept = content if isinstance(content, str | list | tuple) else text_of(content)
    plain: dict[str, Any] = {"role": message["role"], "content": list(kept) if isinstance(kept, tuple) else kept}
    if message.get("name"):
        plain["name"] = message["name"]
    return plain


def _orphan(result: Message) -> dict[str, Any]:
    name = result.get("name")
    told = f"Result of the tool {name}" if name else "Result of a tool"
    return {"role": "user", "content": f"{told}:\n{text_of(result.get('content'))}"}
