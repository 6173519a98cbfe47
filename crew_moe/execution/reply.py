"""A provider's whole answer, read with suspicion: bytes in, ChatReply out, CallFailed for what makes no sense."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.execution.failure import CallFailed, classify_error
from crew_moe.execution.stops import cut
from crew_moe.execution.usage import usage_of


def parse_reply(body: bytes, *, stop: Sequence[str] = (), private: Iterable[str] = ()) -> ChatReply:
    """The reply in a chat completion's body. Its usage is empty when the provider told none.

    Raises CallFailed: malformed (no JSON, no choice, neither text nor tool call), refused (a `refusal`, or the
    content filter), or what an `error` in place of choices says.
    """
    data = parse_object(body.decode("utf-8", errors="replace"))
    usage = usage_of(data)
    if data.get("error"):
        raise classify_error(data["error"], private=private)
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise CallFailed(ErrorClass.MALFORMED, "an answer without choices", usage=usage)
    return assemble(
        text=text_of_content(message.get("content")),
        refusal=message.get("refusal"),
        calls=calls_of(message.get("tool_calls")),
        finish_reason=choice.get("finish_reason"),
        usage=usage,
        model=data.get("model"),
        stop=stop,
    )


def assemble(
    *,
    text: str | None,
    refusal: object,
    calls: Sequence[Mapping[str, Any]],
    finish_reason: object,
    usage: Usage | None,
    model: object,
    stop: Sequence[str] = (),
) -> ChatReply:
    """The reply made of its parts, whole or streamed. Raises CallFailed where it is none."""
    reason = finish_reason if isinstance(finish_reason, str) and finish_reason else None
    if reason == "content_filter" or (refusal and not text and not calls):
        raise CallFailed(ErrorClass.REFUSED, "the provider's content policy", usage=usage)
    if not text and not calls and not (stop and reason == "stop"):  # it may stop at once where it was told at what
        raise CallFailed(ErrorClass.MALFORMED, f"neither text nor tool call (finish: {reason})", usage=usage)
    kept = cut(text or "", stop)
    if len(kept) < len(text or ""):
        reason = "stop"
    return ChatReply(
        text=kept,
        tool_calls=tuple(_whole(call, index) for index, call in enumerate(calls)),
        finish_reason=reason or ("tool_calls" if calls else "stop"),
        usage=usage or Usage(),
        model=model if isinstance(model, str) else "",
    )


def parse_object(text: str) -> Mapping[str, Any]:
    """The JSON object in `text`, or CallFailed(malformed)."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, Mapping):
        raise CallFailed(ErrorClass.MALFORMED, "an answer that is no JSON object")
    return data


def text_of_content(content: object) -> str | None:
    """The text of an answer's content: a string, or the text parts of a list; None where there is none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    return "".join(str(part["text"]) for part in content if isinstance(part, Mapping) and part.get("text"))


def calls_of(told: object) -> list[Mapping[str, Any]]:
    """The tool calls in a message or delta; what is no object is none."""
    return [call for call in told if isinstance(call, Mapping)] if isinstance(told, list) else []


def arguments_of(function: Mapping[str, Any]) -> str:
    """A call's arguments as JSON text; some servers send them as an object."""
    told = function.get("arguments")
    return told if isinstance(told, str) else json.dumps(told) if told else ""


def _whole(call: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    """One tool call in OpenAI's shape: with an id, a name, and its arguments as text."""
    function = call.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
        raise CallFailed(ErrorClass.MALFORMED, "a tool call without a name")
    named = {"name": name, "arguments": arguments_of(function) or "{}"}
    return {"id": str(call.get("id") or f"call{index:05d}"), "type": "function", "function": named}
