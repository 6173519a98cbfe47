"""The texts of a chat message, wherever OpenAI's format puts them: one walk for reading and for rewriting.

Content is a string or a list of parts; a participant has a name; a tool call has arguments, which are JSON in a string.
Images, sounds, files and the names of tools are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

Message = Mapping[str, Any]

_PART_TEXTS: Final = ("text", "refusal", "thinking")  # keys of a part that hold what somebody wrote or said
_SPOKEN: Final = ("content", "refusal", "reasoning_content")
_TOOLS: Final = frozenset({"tool", "function"})  # roles whose name is a program's, not a person's


class Rewrite(Protocol):
    """Says what each text of a message becomes."""

    def text(self, text: str) -> str:
        """What somebody wrote."""

    def name(self, name: str) -> str:
        """A participant's name: letters, digits, `_` and `-` alone."""


def rewritten(message: Message, rewrite: Rewrite) -> dict[str, Any]:
    """A copy of the message with every text rewritten; the message itself is not touched."""
    copy = dict(message)
    for key in _SPOKEN:
        if copy.get(key) is not None:
            copy[key] = _content(_sendable(copy[key]), rewrite)
    if isinstance(copy.get("name"), str) and copy.get("role") not in _TOOLS:
        copy["name"] = rewrite.name(copy["name"])
    if copy.get("tool_calls"):
        copy["tool_calls"] = [_call(call, "function", rewrite) for call in copy["tool_calls"]]
    return _call(copy, "function_call", rewrite)


def _sendable(content: object) -> object:
    """Text, parts, or the JSON as which anything else goes out."""
    return content if isinstance(content, str | list | tuple) else json.dumps(content, ensure_ascii=False, default=str)


def _content(content: object, rewrite: Rewrite) -> object:
    if isinstance(content, str):
        return rewrite.text(content)
    if isinstance(content, list | tuple):
        return [_content(part, rewrite) for part in content]
    if isinstance(content, Mapping):
        return _part(content, rewrite)
    return content


def _part(part: Mapping[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    copy = dict(part)
    for key in _PART_TEXTS:
        if key in copy:
            copy[key] = _content(copy[key], rewrite)
    if "content" in copy:  # a tool's result as a part
        copy["content"] = _content(copy["content"], rewrite)
    return copy


def _call(holder: Mapping[str, Any], key: str, rewrite: Rewrite) -> dict[str, Any]:
    """`holder` with the arguments of the call under `key` rewritten, if it has one."""
    copy = dict(holder)
    call = copy.get(key)
    if isinstance(call, Mapping) and call.get("arguments"):
        given = call["arguments"]
        text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str)
        copy[key] = {**call, "arguments": rewritten_json(text, rewrite.text)}
    return copy


def rewritten_json(text: str, change: Callable[[str], str]) -> str:
    """JSON with its strings and numbers rewritten; text that is no JSON is rewritten as a whole.

    A number whose digits change becomes a string: there is no other place for a placeholder.
    """
    try:
        value = json.loads(text, parse_float=_Literal, parse_int=_Literal, parse_constant=_Literal)
    except (ValueError, RecursionError):
        return change(text)
    changed = _value(value, change)
    return text if changed == value else _dump(changed)


class _Literal(str):
    """A number as it was written: 1.10 stays 1.10."""

    __slots__ = ()


def _value(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, _Literal):
        changed = change(value)
        return value if changed == value else changed
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_value(one, change) for one in value]
    if isinstance(value, dict):
        return {change(key): _value(one, change) for key, one in value.items()}
    return value


def _dump(value: Any) -> str:
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key, ensure_ascii=False)}: {_dump(one)}" for key, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    return json.dumps(value, ensure_ascii=False)


class _Reading:
    """A rewrite that changes nothing and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def text(self, text: str) -> str:
        self.seen.append(text)
        return text

    def name(self, name: str) -> str:
        self.seen.append(spoken_name(name))
        return name


def texts_of(message: Message) -> Iterator[str]:
    """Every text of a message that is not empty, in the order of its keys."""
    reading = _Reading()
    rewritten(message, reading)
    return (text for text in reading.seen if text)


def spoken_name(name: str) -> str:
    """A participant's name as people write it: `ann_lee` is Ann Lee."""
    return name.replace("_", " ").title() if name.islower() else name.replace("_", " ")
