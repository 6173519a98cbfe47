"""The token estimate of experts that have no tokenizer: UTF-8 bytes / 4, rounded up.

English prose comes out near the truth, and the estimate is never above the number of bytes, which is the bound that
budgets reserve for an input.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

BYTES_PER_TOKEN: Final = 4
TOKENS_PER_IMAGE: Final = 85
"""What OpenAI bills for an image in low detail."""


def estimate_tokens(text: str) -> int:
    """Tokens of one text: 0 for none."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def cut_to_tokens(text: str, tokens: int) -> str:
    """The longest head of `text` that is estimated at `tokens` or less; never half a character."""
    return text.encode("utf-8", "replace")[: tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore")


def content_text(content: Any) -> str:
    """The text of a message's content: a string, a list of typed parts, or None."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))


def input_tokens(
    messages: Iterable[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    response_format: Mapping[str, Any] | None = None,
) -> int:
    """Tokens of everything that a call sends: contents, tool calls, images, tool specifications, schema."""
    return (
        sum(_message_tokens(message) for message in messages)
        + (_json_tokens(tools) if tools else 0)
        + (_json_tokens(response_format) if response_format else 0)
    )


def call_tokens(tool_calls: Iterable[Mapping[str, Any]]) -> int:
    """Tokens of tool calls in OpenAI's shape: their names and arguments."""
    functions = (call.get("function", {}) for call in tool_calls)
    return sum(estimate_tokens(f"{item.get('name', '')}{item.get('arguments', '')}") for item in functions)


def _message_tokens(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    images = len([part for part in parts if isinstance(part, Mapping) and part.get("type") == "image_url"])
    spoken = estimate_tokens(content_text(content)) + call_tokens(message.get("tool_calls") or ())
    return spoken + images * TOKENS_PER_IMAGE


def _json_tokens(value: object) -> int:
    return estimate_tokens(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
