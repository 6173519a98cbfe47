"""What a caller of `complete` hands over beside the request, checked before anything is spent on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from crew_moe.domain.chat import ChatRequest
from crew_moe.errors import InvalidRequest

OPTIONS: Final = tuple(field.name for field in fields(ChatRequest) if field.name != "messages")
# Each multiplies or raises what a call costs, behind the back of whoever put the money aside.
DEARER: Final = frozenset({"best_of", "max_completion_tokens", "max_tokens", "n", "service_tier"})
CHEAPER_TIERS: Final = frozenset({"auto", "batch", "default", "flex"})
_ONCE: Final = frozenset({"best_of", "n"})

Test = Callable[[Any], bool]


def check_messages(messages: object) -> None:
    """Raises InvalidRequest for what is no list of messages."""
    if messages is not None and not _is_list_of(messages, _is_message):
        raise InvalidRequest("no messages", where="messages", allowed=("a list such as [{'role': 'user', ...}]",))


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, a single stop as a list. Raises InvalidRequest for the first that is unknown, wrong or too dear."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise InvalidRequest(f"unknown option '{name}'", where="complete", value=name, allowed=OPTIONS)
        fits, allowed = _SHAPES[name]
        if value is not None and not fits(value):
            raise InvalidRequest(f"{_told(value)} is not what it takes", where=name, allowed=(allowed,))
    extra = options.get("extra") or {}
    for name in _passed_by(extra):
        raise InvalidRequest(f"'{name}' would cost more than is put aside for the call", where="extra", value=name)
    if extra.get("stream"):
        raise InvalidRequest("complete gives whole answers", where="extra", value="stream")
    given = {name: value for name, value in options.items() if value is not None}
    return given | {"stop": (given["stop"],)} if isinstance(given.get("stop"), str) else given


def _told(value: object) -> str:
    """The value where it is a number, else only its type: a text may be part of a prompt."""
    return str(value) if isinstance(value, int | float) else f"this {type(value).__name__}"


def _passed_by(extra: Mapping[str, Any]) -> Iterator[str]:
    """Fields of a call by which it would cost more than its budget knows."""
    for name in sorted(DEARER & extra.keys()):
        value = extra[name]
        known = isinstance(value, str) and value in CHEAPER_TIERS
        if not (known if name == "service_tier" else value in (None, 1) and name in _ONCE):
            yield name


def _is_list_of(value: object, fits: Test) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(map(fits, value))


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and _is_list_of(value.get("tool_calls") or (), _is_mapping)


def _is_format(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("json_schema") or {}, Mapping)


def _is_extra(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and all(map(_is_text, value))
        and _is_list_of(value.get("modalities") or (), _is_text)
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_temperature(value: object) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and 0 <= float(str(value)) < math.inf


_SHAPES: Final[Mapping[str, tuple[Test, str]]] = {
    "max_output_tokens": (lambda value: _is_whole(value) and value > 0, "a whole number above 0"),
    "temperature": (_is_temperature, "a number from 0 on"),
    "stop": (lambda value: _is_text(value) or _is_list_of(value, _is_text), "a text or a list of texts"),
    "seed": (_is_whole, "a whole number"),
    "tools": (lambda value: _is_list_of(value, _is_mapping), "a list of tools in OpenAI's shape"),
    "tool_choice": (lambda value: _is_text(value) or _is_mapping(value), "a word, or a mapping that names a tool"),
    "response_format": (_is_format, "a mapping in OpenAI's shape"),
    "extra": (_is_extra, "a mapping of further fields of the call; modalities is a list"),
}
