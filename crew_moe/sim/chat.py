"""One chat request as an expert would take it: read, checked against what the expert accepts, answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.expert import Capability, Expert, Parameter
from crew_moe.domain.usage import Usage
from crew_moe.local_gate.extractive import call_tokens, estimate_tokens, input_tokens
from crew_moe.local_gate.extractive import reply as extract
from crew_moe.sim.switchboard import Queued

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the provider would answer 400: OpenAI's message, parameter and code."""

    message: str
    param: str | None = None
    code: str | None = None


def parse(raw: bytes) -> Body | Refusal:
    """The JSON body, or the refusal of one that is no chat request."""
    try:
        body = json.loads(raw)
    except ValueError:
        return Refusal(message="We could not parse the JSON body of your request.")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return Refusal(message="you must provide a model parameter", param="model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(_is_message(message) for message in messages):
        return Refusal(message="'messages' must be a non-empty array of objects with a role.", param="messages")
    for param, fits in _SHAPES:
        if body.get(param) is not None and not fits(body[param]):
            return Refusal(message=f"Invalid type for '{param}'.", param=param, code="invalid_type")
    return body


def refusal(body: Body, expert: Expert) -> Refusal | None:
    """Why this expert can't take the request (parameters, tools, images, length), or None."""
    for param, allowed, uses in _LIMITS:
        if uses(body) and not allowed(expert):
            message = f"Unsupported parameter: '{param}' is not supported with this model."
            return Refusal(message=message, param=param, code="unsupported_parameter")
    limit = output_limit(body)
    if limit is not None and limit > expert.max_output_tokens:
        message = f"max_tokens is too large: {limit}. This model supports at most {expert.max_output_tokens}."
        return Refusal(message=message, param="max_tokens", code="invalid_value")
    tokens = sent_tokens(body)
    if tokens > expert.context_window:
        message = (
            f"This model's maximum context length is {expert.context_window} tokens. "
            f"However, your messages resulted in {tokens} tokens."
        )
        return Refusal(message=message, param="messages", code="context_length_exceeded")
    return None


def compose(body: Body, expert: Expert, queued: Queued | None) -> ChatReply:
    """The expert's answer: the queued one as it is, else extracted from the request's own text."""
    if queued is not None:
        return _queued_reply(body, expert, queued)
    limit = output_limit(body)
    reply = extract(
        body["messages"],
        _offered_tools(body),
        body.get("response_format"),
        expert.max_output_tokens if limit is None else limit,
    )
    return replace(_stopped(reply, body.get("stop")), model=expert.provider_model)


def output_limit(body: Body) -> int | None:
    """The limit of the answer that the request states, under either of its names."""
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    return limit if isinstance(limit, int) and limit > 0 else None


def sent_tokens(body: Body) -> int:
    """Tokens that the request has, as far as they can be told from its text."""
    return input_tokens(body["messages"], body.get("tools") or (), body.get("response_format"))


def wants_usage(body: Body) -> bool:
    """Whether a stream is to end with the usage."""
    options = body.get("stream_options")
    return isinstance(options, Mapping) and bool(options.get("include_usage"))


def _queued_reply(body: Body, expert: Expert, queued: Queued) -> ChatReply:
    estimated = Usage(
        input_tokens=sent_tokens(body),
        output_tokens=estimate_tokens(queued.text) + call_tokens(queued.tool_calls),
    )
    return ChatReply(
        text=queued.text,
        tool_calls=queued.tool_calls,
        finish_reason=queued.finish_reason,
        usage=queued.usage or estimated,
        model=expert.provider_model,
    )


def _offered_tools(body: Body) -> Sequence[Mapping[str, Any]]:
    """The tools that `tool_choice` leaves."""
    choice, tools = body.get("tool_choice"), body.get("tools") or []
    if choice == "none":
        return ()
    if isinstance(choice, Mapping):
        wanted = (choice.get("function") or {}).get("name")
        return [tool for tool in tools if (tool.get("function") or {}).get("name") == wanted]
    return tools


def _stopped(reply: ChatReply, stop: str | Sequence[str] | None) -> ChatReply:
    """The answer up to the first stop sequence; only what is sent is billed."""
    marks = [stop] if isinstance(stop, str) else stop or ()
    cut = min((place for mark in marks if (place := reply.text.find(mark)) >= 0), default=None)
    if cut is None:
        return reply
    text = reply.text[:cut]
    usage = replace(reply.usage, output_tokens=estimate_tokens(text))
    return replace(reply, text=text, finish_reason="stop", usage=usage)


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    return all(_has_function(call) for call in _items(message.get("tool_calls")))


def _has_function(tool: Any) -> bool:
    """A tool or a tool call: an object, whose function, if it has one, is an object with a name."""
    function = tool.get("function", {"name": ""}) if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _is_tool(tool: Any) -> bool:
    if not _has_function(tool):
        return False
    parameters = tool.get("function", {}).get("parameters") or {}
    fields = parameters.get("properties") or {} if isinstance(parameters, dict) else None
    return isinstance(fields, dict) and all(isinstance(field, dict) for field in fields.values())


def _items(value: Any) -> list[Any]:
    """The items of an optional list; what is no list is one wrong item."""
    return [] if value is None else value if isinstance(value, list) else [None]


def _takes(parameter: Parameter) -> Callable[[Expert], bool]:
    return lambda expert: parameter in expert.parameters


def _can(capability: Capability) -> Callable[[Expert], bool]:
    return lambda expert: capability in expert.capabilities


def _has_system(body: Body) -> bool:
    return any(message["role"] in ("system", "developer") for message in body["messages"])


def _has_image(body: Body) -> bool:
    contents = (message.get("content") for message in body["messages"])
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return any(isinstance(part, dict) and part.get("type") == "image_url" for part in parts)


def _wants_schema(body: Body) -> bool:
    wanted = body.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") == "json_schema"


_SHAPES: Final[tuple[tuple[str, Callable[[Any], bool]], ...]] = (
    ("tools", lambda tools: all(_is_tool(tool) for tool in _items(tools))),
    ("tool_choice", lambda choice: isinstance(choice, str) or _has_function(choice)),
    ("response_format", lambda wanted: isinstance(wanted, dict) and isinstance(wanted.get("json_schema", {}), dict)),
    ("stop", lambda stop: isinstance(stop, str) or all(isinstance(mark, str) for mark in _items(stop))),
)

# (parameter named in the refusal, whether the expert allows it, whether the request uses it). A temperature of 1 is
# every model's default and refused by none.
_LIMITS: Final[tuple[tuple[str, Callable[[Expert], bool], Callable[[Body], bool]], ...]] = (
    ("temperature", _takes(Parameter.TEMPERATURE), lambda body: body.get("temperature") not in (None, 1)),
    ("stop", _takes(Parameter.STOP), lambda body: bool(body.get("stop"))),
    ("seed", _takes(Parameter.SEED), lambda body: body.get("seed") is not None),
    (
        "max_tokens",
        lambda expert: Parameter.MAX_COMPLETION_TOKENS not in expert.parameters,
        lambda body: body.get("max_tokens") is not None,
    ),
    ("messages", _takes(Parameter.SYSTEM), _has_system),
    ("messages", _can(Capability.VISION), _has_image),
    ("response_format", _takes(Parameter.JSON_SCHEMA), _wants_schema),
    ("tools", _can(Capability.TOOLS), lambda body: bool(body.get("tools"))),
)
