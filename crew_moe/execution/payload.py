"""The body of one chat completion request, in the words that the expert takes.

Not every model takes every parameter (`Expert.parameters`). What one lacks is left out where that is harmless
(temperature, seed), done on this side (stop, see `execution.stops`), or said in words (a JSON schema, the system role).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Capability, Expert, Parameter
from crew_moe.execution.conversation import instruct, normalise

MAX_STOPS: Final = 4
_NO_USER_AFTER_TOOL: Final = frozenset({"mistral"})  # "Unexpected role 'user' after role 'tool'", code 3230
_IN_JSON: Final = "Answer with one JSON object and nothing else."
_BY_SCHEMA: Final = "Answer with one JSON object that fits this JSON Schema, and nothing else:\n"


def payload(expert: Expert, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
    """The JSON object to POST; `request.extra` goes in first and overrides nothing of ours."""
    messages, response_format = _format(expert, request)
    takes = expert.parameters
    limit = "max_completion_tokens" if Parameter.MAX_COMPLETION_TOKENS in takes else "max_tokens"
    optional: dict[str, Any] = {
        limit: request.max_output_tokens,
        "temperature": request.temperature if Parameter.TEMPERATURE in takes else None,
        "stop": list(request.stop[:MAX_STOPS]) if Parameter.STOP in takes and request.stop else None,
        "seed": request.seed if Parameter.SEED in takes else None,
        "tools": [dict(tool) for tool in request.tools] or None,
        "tool_choice": request.tool_choice if request.tools else None,
        "response_format": response_format,
        "stream": stream or None,
        "stream_options": {"include_usage": True} if stream else None,
    }
    return {
        **request.extra,
        "model": expert.provider_model,
        "messages": normalise(
            messages, system=Parameter.SYSTEM in takes, user_after_tool=expert.provider not in _NO_USER_AFTER_TOOL
        ),
        **{name: value for name, value in optional.items() if value is not None},
    }


def encode(body: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON. Raises TypeError or ValueError for what is no JSON (objects, NaN); lone surrogates become '?'."""
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", errors="replace")


def _format(expert: Expert, request: ChatRequest) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any] | None]:
    """Messages and `response_format`: a schema as such, as JSON mode with the schema in words, or in words alone."""
    wanted = request.response_format
    if not wanted or wanted.get("type") == "text":
        return request.messages, None
    by_schema = wanted.get("type") == "json_schema"
    json_mode = Capability.JSON in expert.capabilities
    if Parameter.JSON_SCHEMA in expert.parameters if by_schema else json_mode:
        return request.messages, wanted
    schema = (wanted.get("json_schema") or {}).get("schema")
    told = _BY_SCHEMA + json.dumps(schema, ensure_ascii=False) if schema else _IN_JSON
    return instruct(request.messages, told), {"type": "json_object"} if json_mode else None
