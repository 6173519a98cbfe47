"""A chat completion: the body that is sent, and what the answer, whole or in pieces, says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.domain.usage import Usage
from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote.server import read_json

_DONE: Final = "[DONE]"


def chat_body(work: Work, *, model: str, options: Mapping[str, Any], max_output_tokens: int) -> dict[str, Any]:
    """The JSON to send: the whole chat, or the text as the user's one message. A chat's own words win over options; of
    all that is said of the longest answer the least counts, `max_output_tokens` at most.
    """
    chat = work.chat or ChatRequest(messages=[{"role": "user", "content": work.text}])
    told = {
        "max_tokens": min(filter(None, (max_output_tokens, chat.max_output_tokens, work.max_output_tokens))),
        "temperature": chat.temperature,
        "stop": list(chat.stop) or None,
        "seed": chat.seed,
        "tools": [dict(tool) for tool in chat.tools] or None,
        "tool_choice": chat.tool_choice if chat.tools else None,
        "response_format": chat.response_format,
    }
    return {
        **{name: value for name, value in options.items() if name != "extra"},
        **options.get("extra", {}),
        **chat.extra,
        **{name: value for name, value in told.items() if value is not None},
        "model": model,
        "messages": [dict(message) for message in chat.messages],
        "stream": False,
    }


def made(body: bytes, *, chatted: bool, at: str) -> Made:
    """The answer in a chat completion. Raises HostFailed where it holds none."""
    data = read_json(body, at=at)
    choice = _choice(data, at)
    message = _mapping(choice.get("message"))
    text, calls = message.get("content"), _calls(message.get("tool_calls"))
    finish = choice.get("finish_reason")
    if not isinstance(text, str) and not calls and finish != "length":  # thinking may have used up all that it had
        raise HostFailed(Trouble.MODEL_FAILED, f"the server at {at} answered with neither text nor tool call")
    usage = _mapping(_mapping(data).get("usage"))
    counted = Usage(input_tokens=_count(usage, "prompt_tokens"), output_tokens=_count(usage, "completion_tokens"))
    said = text if isinstance(text, str) else ""
    reason = finish if isinstance(finish, str) and finish else "tool_calls" if calls else "stop"
    model = _mapping(data).get("model")
    reply = ChatReply(
        text=said,
        tool_calls=calls,
        finish_reason=reason,
        usage=counted,
        model=model if isinstance(model, str) else "",
    )
    return Made(
        text=said,
        input_tokens=counted.input_tokens,
        output_tokens=counted.output_tokens,
        finish_reason=reason,
        reply=reply if chatted else None,
    )


def text_pieces(pieces: Iterable[bytes], *, at: str) -> Iterator[str]:
    """The texts in a streamed chat completion. Raises HostFailed where it breaks off, or tells of an error."""
    begun = finished = False
    for event in _events(pieces):
        if event == _DONE:
            if not begun:
                raise HostFailed(Trouble.MODEL_FAILED, f"the server at {at} ended its answer before it began")
            return
        begun = True
        choice = _choice(read_json(event.encode(), at=at), at, streamed=True)
        finished = finished or bool(choice.get("finish_reason"))
        text = _mapping(choice.get("delta")).get("content")
        if isinstance(text, str) and text:
            yield text
    if not finished:
        raise HostFailed(Trouble.UNAVAILABLE, f"the server at {at} ended its answer in the middle")


def _events(pieces: Iterable[bytes]) -> Iterator[str]:
    """The data of server-sent events, one line each, as these servers send them; comments are dropped."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from _data(lines)
    yield from _data([rest])


def _data(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        if line.startswith(b"data:"):
            yield line[len(b"data:") :].decode("utf-8", errors="replace").strip()


def _choice(data: Any, at: str, *, streamed: bool = False) -> Mapping[str, Any]:
    """The first choice; none is an error but in a stream, whose last piece tells the usage alone."""
    if _mapping(data).get("error"):
        raise HostFailed(Trouble.MODEL_FAILED, f"the server at {at} began to answer and failed")
    choices = _mapping(data).get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping) and not streamed:
        raise HostFailed(Trouble.MODEL_FAILED, f"the server at {at} gave an answer without choices")
    return _mapping(choice)


def _calls(told: Any) -> tuple[Mapping[str, Any], ...]:
    """Tool calls in OpenAI's shape, with their arguments as text (TGI sends an object); what has no name is none."""
    calls = []
    for index, call in enumerate(told if isinstance(told, list) else []):
        function = _mapping(_mapping(call).get("function"))
        if not isinstance(function.get("name"), str) or not function["name"]:
            continue
        given = function.get("arguments")
        arguments = given if isinstance(given, str) else json.dumps(given or {})
        called = {"name": function["name"], "arguments": arguments or "{}"}
        calls.append({"id": str(call.get("id") or f"call{index:05d}"), "type": "function", "function": called})
    return tuple(calls)


def _count(usage: Mapping[str, Any], name: str) -> int:
    told = usage.get(name)
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else 0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
