"""Bodies in OpenAI's chat format: completions, stream events, errors, the list of models."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.expert import Expert
from crew_moe.domain.usage import Usage
from crew_moe.local_gate.extractive import LABEL

FINGERPRINT: Final = f"simulated; {LABEL}"
STREAM_PIECES: Final = 20
"""How many content events an answer is streamed in, at most."""

# Status -> (type, code, message) as OpenAI words it.
ERRORS: Final = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("authentication_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    405: ("invalid_request_error", None, "Method not allowed for this address."),
    413: ("invalid_request_error", None, "The request is too large."),
    429: ("rate_limit_error", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", "overloaded", "The engine is currently overloaded, please try again later."),
}


def error(status: int, message: str = "", *, code: str | None = None, param: str | None = None) -> bytes:
    """An error body; without a message the one that the provider would send."""
    kind, usual_code, usual = ERRORS[status]
    body = {"message": message or usual, "type": kind, "param": param, "code": code or usual_code}
    return _dump({"error": body})


def models(experts: Iterable[Expert]) -> bytes:
    return _dump({"object": "list", "data": [_model(expert) for expert in experts]})


def model(expert: Expert) -> bytes:
    return _dump(_model(expert))


def completion(reply: ChatReply, at: datetime, number: int) -> bytes:
    """The whole answer as one `chat.completion`."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.tool_calls:
        message["tool_calls"] = list(reply.tool_calls)
    else:
        message["content"] = reply.text
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    return _dump({**_head(reply, at, number, "chat.completion"), "choices": [choice], "usage": usage(reply.usage)})


def events(reply: ChatReply, at: datetime, number: int, *, include_usage: bool) -> tuple[bytes, ...]:
    """The answer as server-sent events: role, content or tool calls, finish, usage when asked for, [DONE]."""
    head = _head(reply, at, number, "chat.completion.chunk")
    if include_usage:
        head["usage"] = None

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice]})

    pieces = [chunk({"role": "assistant", "content": None if reply.tool_calls else ""})]
    pieces += [chunk({"content": text}) for text in _split(reply.text)]
    for index, call in enumerate(reply.tool_calls):
        pieces += [chunk(delta) for delta in _call_deltas(index, call)]
    pieces.append(chunk({}, reply.finish_reason))
    if include_usage:
        pieces.append(_event({**head, "choices": [], "usage": usage(reply.usage)}))
    return (*pieces, b"data: [DONE]\n\n")


def usage(tokens: Usage) -> dict[str, Any]:
    """What the provider bills for; details beyond caches and reasoning where there are any."""
    sent = {"cache_write": tokens.cache_write_tokens, "audio": tokens.input_audio_tokens}
    sent["image"] = tokens.input_image_tokens
    told: dict[str, Any] = {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
        "prompt_tokens_details": {"cached_tokens": tokens.cached_tokens, **_counted(sent)},
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning_tokens,
            **_counted({"audio": tokens.output_audio_tokens}),
        },
    }
    return {**told, "service_tier": "batch"} if tokens.batch else told


def _counted(parts: Mapping[str, int]) -> dict[str, int]:
    return {f"{name}_tokens": count for name, count in parts.items() if count}


def _head(reply: ChatReply, at: datetime, number: int, kind: str) -> dict[str, Any]:
    identity = hashlib.sha256(f"{reply.model}\0{number}\0{at.isoformat()}".encode()).hexdigest()[:24]
    return {
        "id": f"chatcmpl-{identity}",
        "object": kind,
        "created": int(at.timestamp()),
        "model": reply.model,
        "system_fingerprint": FINGERPRINT,
    }


def _call_deltas(index: int, call: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """A tool call comes as its head first and its arguments in pieces, as providers send it."""
    function = call["function"]
    head = {"id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": ""}}
    yield {"tool_calls": [{"index": index, **head}]}
    for text in _split(function["arguments"]):
        yield {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def _split(text: str) -> list[str]:
    """The text in at most STREAM_PIECES pieces that end between words."""
    words = re.findall(r"\s*\S+|\s+$", text)
    size = -(-len(words) // STREAM_PIECES) or 1
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]


def _model(expert: Expert) -> dict[str, Any]:
    created = int(datetime.fromisoformat(f"{expert.checked_on}T00:00:00+00:00").timestamp())
    return {"id": expert.expert_id, "object": "model", "created": created, "owned_by": expert.provider}


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + _dump(value) + b"\n\n"


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
