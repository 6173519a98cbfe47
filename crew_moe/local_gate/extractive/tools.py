"""Chooses a tool and fills its arguments from the text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from crew_moe.local_gate.extractive.schema import CONSENTS, fill
from crew_moe.local_gate.extractive.supply import Supply

ToolCall = Mapping[str, Any]

_WORD: Final = re.compile(r"[^\W_]{3,}")


def choose_call(tools: Sequence[Mapping[str, Any]], supply: Supply) -> ToolCall | None:
    """One call in OpenAI's shape, or None when no tool's required fields can be filled.

    Of the tools that can be filled the one that shares most words with the request is called, then the first. A
    tool without arguments must share one: there is nothing else that speaks for it.
    """
    fillable = []
    for index, tool in enumerate(tools):
        function = tool.get("function", tool)
        parameters = _parameters(function)
        arguments = fill(parameters, supply, strict=not _asks_consent(parameters))
        shared = _shared(function, supply.request)
        if isinstance(arguments, dict) and (arguments or shared):
            fillable.append((-shared, index, str(function.get("name", "")), arguments))
    if not fillable:
        return None
    _, _, name, arguments = min(fillable)
    return _call(name, json.dumps(arguments, ensure_ascii=False))


def _parameters(function: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tool's parameters; each field may also read the tool's own description, which may list its values."""
    parameters = function.get("parameters") or {}
    about = str(function.get("description", ""))
    fields = parameters.get("properties") or {}
    described = {
        name: {**field, "description": f"{field.get('description', '')}\n{about}"} for name, field in fields.items()
    }
    return {"type": "object", **parameters, "properties": described}


def _asks_consent(parameters: Mapping[str, Any]) -> bool:
    """Whether it takes no more than the asker's own plan: it acts on nothing, and without it CrewAI asks for ever."""
    required = parameters.get("required")
    return isinstance(required, list) and any(word in required for word in CONSENTS)


def _shared(function: Mapping[str, Any], request: str) -> int:
    """How many words (by their first letters) the tool's name and description share with the request."""
    about = f"{function.get('name', '')} {function.get('description', '')}".replace("_", " ")
    return len(_stems(about) & _stems(request))


def _stems(text: str) -> set[str]:
    return {word.lower()[:5] for word in _WORD.findall(text)}


def _call(name: str, arguments: str) -> ToolCall:
    identity = hashlib.sha256(f"{name}\0{arguments}".encode()).hexdigest()[:24]
    return {"id": f"call_{identity}", "type": "function", "function": {"name": name, "arguments": arguments}}


def as_action(call: ToolCall) -> str:
    """The call in words, for an agent that reads its tools from the system prompt."""
    function = call["function"]
    return (
        f"Thought: the tool {function['name']} can give what is asked for.\n"
        f"Action: {function['name']}\nAction Input: {function['arguments']}"
    )


def without_unknown(tools: Iterable[Any]) -> tuple[Mapping[str, Any], ...]:
    """The tools that are functions with a name; hosted tools of a provider can't be called here."""
    kept = (tool for tool in tools if isinstance(tool, Mapping))
    return tuple(tool for tool in kept if isinstance(tool.get("function", tool).get("name"), str))
