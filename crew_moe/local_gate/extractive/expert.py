"""`reply`: one chat completion, made of the text that the chat holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.usage import Usage
from crew_moe.local_gate.extractive.answers import KEY_POINTS, answer, summary
from crew_moe.local_gate.extractive.conversation import Conversation, read
from crew_moe.local_gate.extractive.ranking import Ranked, rank
from crew_moe.local_gate.extractive.schema import MISSING, fill
from crew_moe.local_gate.extractive.supply import Supply
from crew_moe.local_gate.extractive.tokens import call_tokens, cut_to_tokens, estimate_tokens, input_tokens
from crew_moe.local_gate.extractive.tools import ToolCall, as_action, choose_call, without_unknown

LABEL: Final = "offline extractive, not an LLM"
MODEL: Final = "extractive"
MAX_OUTPUT_TOKENS: Final = 8_192
"""When the caller sets no limit."""

_JSON_OBJECT: Final = {
    "type": "object",
    "required": ["summary", "key_points", "keywords"],
    "properties": {
        "summary": {"type": "string"},
        "key_points": {"type": "array", "items": {"type": "string"}},
        "keywords": {"type": "array", "items": {"type": "string"}},
    },
}


def reply(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    response_format: Mapping[str, Any] | None = None,
    max_output_tokens: int | None = None,
) -> ChatReply:
    """Answer a chat in OpenAI's format with sentences of its own text; the same input gives the same output.

    With tools, and before any tool has answered, it calls one whose arguments the text can fill. With a
    `response_format` (or a schema that a CrewAI task asks for in words) the text is valid JSON. Tokens are estimated as
    UTF-8 bytes / 4; an answer beyond `max_output_tokens` is cut, and `finish_reason` says "length".

    Any text works (empty, one sentence, any language, code, megabytes): at most 24,000 characters and 120 sentences
    of it are ranked, about a tenth of a second. Raises MissingExtra without `summa`.

    >>> reply([{"role": "user", "content": "What did fail?\\n\\nThe door is red. The pump did fail."}]).text
    'The door is red. The pump did fail.'
    """
    conversation = read(messages)
    text = rank(conversation.source)
    supply = _supply(conversation, text)
    limit = MAX_OUTPUT_TOKENS if max_output_tokens is None else max_output_tokens
    used = input_tokens(messages, tools, response_format)
    call = None if conversation.answered else choose_call(without_unknown(tools), supply)
    if call is not None and call_tokens([call]) <= limit:
        usage = Usage(input_tokens=used, output_tokens=call_tokens([call]))
        return ChatReply(text="", tool_calls=(call,), finish_reason="tool_calls", usage=usage, model=MODEL)
    whole = _text(conversation, text, supply, response_format)
    cut = cut_to_tokens(whole, limit)
    return ChatReply(
        text=cut,
        finish_reason="stop" if cut == whole else "length",
        usage=Usage(input_tokens=used, output_tokens=estimate_tokens(cut)),
        model=MODEL,
    )


def _text(conversation: Conversation, text: Ranked, supply: Supply, response_format: Mapping[str, Any] | None) -> str:
    schema = _schema(response_format, conversation.schema)
    action = _action(conversation, supply)
    if action is not None:
        return as_action(action)
    body = _json(schema, supply) if schema else answer(conversation.request, conversation.expected, text)
    if conversation.react and response_format is None:
        return f"Thought: I now can give a great answer\nFinal Answer: {body}"
    return body


def _action(conversation: Conversation, supply: Supply) -> ToolCall | None:
    """A call of a tool that the system prompt lists in words."""
    if conversation.answered or not conversation.listed_tools:
        return None
    return choose_call(conversation.listed_tools, supply)


def _supply(conversation: Conversation, text: Ranked) -> Supply:
    best = text.best(conversation.request)
    return Supply(
        request=conversation.request,
        text=conversation.source,
        title=text.title,
        summary=summary(best),
        sentences=[sentence.text for sentence in best[:KEY_POINTS]],
        keywords=text.keywords,
    )


def _schema(response_format: Mapping[str, Any] | None, told: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The JSON schema that a response format or the chat's words ask for; None when it is to be plain text."""
    kind = (response_format or {}).get("type")
    if kind not in ("json_object", "json_schema"):
        return told
    schema = (response_format or {}).get("json_schema", {}).get("schema") if kind == "json_schema" else None
    return schema if isinstance(schema, Mapping) and schema else told or _JSON_OBJECT


def _json(schema: Mapping[str, Any], supply: Supply) -> str:
    value = fill(schema, supply)
    return json.dumps(None if value is MISSING else value, ensure_ascii=False)
