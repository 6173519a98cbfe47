"""What the OpenAPI document says of these endpoints, which read and write their bodies themselves."""

from __future__ import annotations

from typing import Any, Final

from crew_moe.service.documents import document
from crew_moe.service.examples import Examples
from crew_moe.service.openai_api.body import ChatBody

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer"}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_EXAMPLES: Final[Examples] = {
    "auto": {
        "summary": "The best expert within a budget",
        "value": {
            "model": "auto",
            "messages": [{"role": "user", "content": "Name three uses of a hash ring."}],
            "crew_moe": {"budget_usd": "0.01", "min_quality": 0.8},
        },
    },
    "stream": {
        "summary": "As it comes",
        "value": {
            "model": "auto:fast",
            "messages": [{"role": "user", "content": "Tell me a story."}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    },
}
_ROW: Final = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {"id": _TEXT, "object": {"const": "model"}, "created": _NUMBER, "owned_by": _TEXT},
}
_LIST: Final = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _ROW}},
}
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param", "crew_moe"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "code": _TEXT,
                "param": _MAYBE_TEXT,
                "crew_moe": {"type": "object", "description": "The same in crew-moe's own words."},
            },
        }
    },
}
_COMPLETION: Final = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage", "crew_moe"],
    "properties": {
        "id": _TEXT,
        "object": {"const": "chat.completion"},
        "created": _NUMBER,
        "model": {"type": "string", "description": "The expert that served."},
        "choices": {"type": "array", "items": {"type": "object"}},
        "usage": {"type": "object"},
        "crew_moe": {
            "type": "object",
            "required": ["expert_id", "decision_id", "cost_usd", "fallback", "attempts"],
            "properties": {
                "expert_id": _TEXT,
                "decision_id": _TEXT,
                "cost_usd": _TEXT,
                "fallback": _MAYBE_TEXT,
                "attempts": {"type": "array", "items": {"type": "object"}},
            },
        },
    },
}
_HEADERS: Final = {
    "X-Crew-Moe-Expert": {"description": "The expert that serves.", "schema": _TEXT},
    "X-Crew-Moe-Decision": {"description": "The decision, for /api/v1/decisions and feedback.", "schema": _TEXT},
    "X-Crew-Moe-Cost-Usd": {"description": "What a whole answer cost.", "schema": _TEXT},
    "X-Crew-Moe-Fallback": {"description": "Instead of whom, where somebody failed.", "schema": _TEXT},
}
_FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": what, "content": {"application/json": {"schema": _ERROR}}}
    for status, what in (
        (402, "A budget is used up"),
        (403, "Forbidden by the gate, a rule or screening"),
        (404, "No such model, or none is configured"),
        (409, "No expert may serve it"),
        (422, "The request is wrong"),
        (429, "No provider has room"),
        (502, "Nobody answered"),
        (503, "The state store can't be reached"),
        (504, "Nobody answered in time"),
    )
}


def _responses(schema: dict[str, Any], **more: Any) -> dict[int | str, dict[str, Any]]:
    answer = {"description": "OK", "content": {"application/json": {"schema": schema}}, **more}
    return {200: answer, **_FAILURES}


_ANSWER: Final = _responses(_COMPLETION, headers=_HEADERS)
_ANSWER[200]["content"]["text/event-stream"] = {}
CHAT: Final[dict[str, Any]] = {"responses": _ANSWER, "openapi_extra": document(ChatBody, examples=_EXAMPLES)}
MODELS: Final[dict[str, Any]] = {"responses": {200: _responses(_LIST)[200]}}
MODEL: Final[dict[str, Any]] = {
    "responses": {200: _responses(_ROW)[200], 404: _FAILURES[404]},
    "openapi_extra": {"parameters": [{"name": "name", "in": "path", "required": True, "schema": _TEXT}]},
}
