"""Answers in OpenAI's shapes: the whole completion, the events of a stream, and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from crew_moe.domain.outcome import Completion, Piece
from crew_moe.service.openai_api import notes
from crew_moe.surface.fault import Fault

DONE: Final = b"data: [DONE]\n\n"
_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


def completion_body(completion: Completion, *, created: int, note: str | None) -> bytes:
    """A whole `chat.completion`."""
    calls = list(completion.tool_calls)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": completion.text if completion.text or not calls else None,
    }
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": {**message, "refusal": None}, "logprobs": None}
    return _dump(
        {
            "id": _id(completion.decision_id),
            "object": "chat.completion",
            "created": created,
            "model": completion.expert_id,
            "choices": [{**choice, "finish_reason": completion.finish_reason}],
            "usage": notes.usage(completion),
            "crew_moe": notes.told(completion, note),
        }
    )


def error_body(fault: Fault) -> bytes:
    """An error as OpenAI's clients read it, with the fault's own fields beside."""
    kind = _TYPES.get(fault.status, "invalid_request_error" if fault.status < 500 else "server_error")
    told = {"message": str(fault), "type": kind, "code": fault.code, "param": fault.where or None}
    return _dump({"error": {**told, "crew_moe": fault.as_dict()}})


def error_event(fault: Fault) -> bytes:
    """The last event of a stream that broke off: no [DONE] follows."""
    return b"data: " + error_body(fault) + b"\n\n"


class Events:
    """The events of one stream. Who serves stands in the first one, usage and cost in the last ones."""

    def __init__(self, first: Piece, *, created: int, note: str | None, wants_usage: bool) -> None:
        self._head = {
            "id": _id(first.decision_id),
            "object": "chat.completion.chunk",
            "created": created,
            "model": first.expert_id,
        }
        self._first = {"expert_id": first.expert_id, "decision_id": first.decision_id, "fallback": note}
        self._begun = False
        self._note = note
        self._wants_usage = wants_usage
        # Most events differ in their text alone.
        empty = self._event({"content": ""})
        self._before, self._behind = empty.split(b'{"content":""}')

    def of(self, piece: Piece) -> bytes:
        """The events that a piece makes; the last one makes all that end a stream."""
        if piece.completion is not None:
            return self._piece(piece) + self._end(piece.completion)
        return self._piece(piece)

    def _piece(self, piece: Piece) -> bytes:
        if self._begun and piece.text and not piece.tool_calls:
            return self._before + b'{"content":' + _dump(piece.text) + b"}" + self._behind
        delta: dict[str, Any] = {"content": piece.text} if piece.text else {}
        if piece.tool_calls:
            delta["tool_calls"] = list(piece.tool_calls)
        if self._begun:
            return self._event(delta) if delta else b""
        self._begun = True
        return self._event(
            {"role": "assistant", "content": None if piece.tool_calls else "", **delta}, crew_moe=self._first
        )

    def _end(self, whole: Completion) -> bytes:
        told = notes.told(whole, self._note)
        end = self._event({}, whole.finish_reason, crew_moe=told)
        if self._wants_usage:
            end += b"data: " + _dump({**self._head, "choices": [], "usage": notes.usage(whole)}) + b"\n\n"
        return end + DONE

    def _event(self, delta: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._wants_usage else {}
        return b"data: " + _dump({**self._head, "choices": [choice], **usage, **more}) + b"\n\n"


def _id(decision_id: str) -> str:
    return f"chatcmpl-{decision_id}"


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
