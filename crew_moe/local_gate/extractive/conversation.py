"""What a chat asks for, and the text it gives to answer from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crew_moe.local_gate.extractive.tokens import content_text

# The words that CrewAI 1.15 puts around a task (crewai/translations/en.json).
TASK: Final = "Current Task:"
EXPECTED: Final = "This is the expected criteria for your final answer:"
EXPECTED_END: Final = "\nyou MUST return the actual complete content"
CONTEXT: Final = "This is the context you're working with:"
SCHEMA: Final = "according to the following OpenAPI schema:"
CLOSINGS: Final = ("\n\nBegin! This is VERY important", "\n\nProvide your complete response:")
FINAL_ANSWER: Final = "Final Answer:"
OBSERVATION: Final = "\nObservation:"

HEAD_CHARS: Final = 4_000
"""Where instructions are looked for: a label further down belongs to the document."""
REQUEST_CHARS: Final = 24_000
"""A request beyond this is a text without a request; its words are looked up in all sentences."""

_LABEL: Final = re.compile(
    r"(?i)\b(?:document|text|report|source|content|article|transcript|notes?|input|log|code|e-?mail|passage|context)s?\b"
    r"[^\n:.]{0,40}:\s"
)
_FENCE: Final = re.compile(r"```[^\n]*\n|\"\"\"|<(?:document|text|source|content|context|data|conversation|input)>")
_HEADING: Final = re.compile(r"\n#{1,3} ")
_TOOL: Final = re.compile(r"Tool Name: ([^\n]+)\nTool Arguments: ")
_TOOL_ROLES: Final = frozenset({"tool", "function"})
_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
# How a system prompt asks for JSON where a provider knows no schemas: the last such wish counts.
_TOLD_SCHEMA: Final = re.compile(r"(?:JSON Schema|OpenAPI schema)[^\n{]{0,60}:\s*(?=\{)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """`request` and `expected` are the asker's own words; `source` is what to extract from, results of tools first.

    `answered`: a tool has answered already. `react`: the system prompt asks for "Final Answer:" lines, and
    `listed_tools` are the tools that it describes in words. `schema` is the one that was asked for in words.
    """

    request: str
    expected: str
    source: str
    answered: bool
    react: bool
    listed_tools: tuple[Mapping[str, Any], ...]
    schema: Mapping[str, Any] | None


def read(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    """Split a chat by the roles of its messages; what they say never changes the state."""
    spoken = [(str(message.get("role", "")), content_text(message.get("content"))) for message in messages]
    system = "\n".join(text for role, text in spoken if role in _SYSTEM_ROLES)
    turns = [(role, text) for role, text in spoken if role not in _SYSTEM_ROLES]
    at = _task_index(turns)
    preamble, _, task = turns[at][1].rpartition(TASK) if at is not None else ("", "", "")
    rules = system or preamble
    react = FINAL_ANSWER in rules
    results = _results(turns[at + 1 :], react=react) if at is not None else _results(turns, react=react)
    request, expected, body, schema = _split_task(task)
    history = [text for role, text in turns[:at] if role in ("user", "assistant")]
    source = "\n\n".join(part.strip() for part in (*results, body) if part.strip())
    return Conversation(
        request=request[:REQUEST_CHARS],
        expected=expected,
        source=source or "\n\n".join(history) or request,
        answered=bool(results),
        react=react,
        listed_tools=_listed_tools(rules),
        schema=schema or _told_schema(system),
    )


def _task_index(turns: Sequence[tuple[str, str]]) -> int | None:
    """The last user message with CrewAI's mark; without one, the last user message."""
    asked = [index for index, (role, _) in enumerate(turns) if role == "user"]
    marked = [index for index in asked if TASK in turns[index][1]]
    found = marked or asked
    return found[-1] if found else None


def _results(turns: Sequence[tuple[str, str]], *, react: bool) -> list[str]:
    """What tools answered. Without native tool calls CrewAI appends an observation to the assistant's own turn."""
    results = [text for role, text in turns if role in _TOOL_ROLES]
    if react:
        observed = (text.rpartition(OBSERVATION) for role, text in turns if role == "assistant")
        results += [text for _, mark, text in observed if mark]
    return results


def _split_task(task: str) -> tuple[str, str, str, Mapping[str, Any] | None]:
    """(request, expected output, source text, schema asked for in words) of one task."""
    for closing in CLOSINGS:
        task = task.rpartition(closing)[0] or task
    task, _, context = task.partition(CONTEXT)
    description, _, criteria = task.partition(EXPECTED)
    expected, _, demands = criteria.partition(EXPECTED_END)
    request, body = _split_description(description.strip(), weak=not context.strip())
    source = "\n\n".join(part.strip() for part in (context, body) if part.strip())
    return request, expected.strip(), source, _asked_schema(demands)


def _split_description(description: str, *, weak: bool) -> tuple[str, str]:
    """(instructions, text to work on), parted by a fence, label or heading; `weak`: else by the first blank line."""
    head = description[:HEAD_CHARS]
    for mark in (_FENCE, _LABEL, _HEADING):
        found = mark.search(head)
        if found is not None and found.start() > 0:
            return description[: found.start()].strip(), description[found.end() - (mark is _HEADING) * 3 :].strip()
    first, _, rest = description.partition("\n\n")
    return (first, rest.strip()) if weak else (description, "")


def _asked_schema(demands: str) -> Mapping[str, Any] | None:
    _, mark, text = demands.partition(SCHEMA)
    return _leading_json(text.lstrip()) if mark else None


def _told_schema(system: str) -> Mapping[str, Any] | None:
    found = [_leading_json(system[mark.end() :]) for mark in _TOLD_SCHEMA.finditer(system)]
    return next((schema for schema in reversed(found) if schema), None)


def _listed_tools(rules: str) -> tuple[Mapping[str, Any], ...]:
    """Tools that a system prompt describes in words, in OpenAI's shape."""
    tools = []
    for found in _TOOL.finditer(rules):
        parameters = _leading_json(rules[found.end() :])
        if parameters is not None:
            tools.append({"type": "function", "function": {"name": found[1].strip(), "parameters": parameters}})
    return tuple(tools)


def _leading_json(text: str) -> Mapping[str, Any] | None:
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
