"""One call of a model and its answer, in OpenAI's chat format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crew_moe.domain.meter import Told
from crew_moe.domain.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One call of a model in OpenAI's chat format. Messages and tools are passed as they are."""

    messages: Sequence[Mapping[str, Any]]
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What a model answered. `tool_calls` in OpenAI's shape; `model` as the provider names it; `limits` is what it said
    of its rate limits.
    """

    text: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str = "stop"
    usage: Usage = Usage()
    model: str = ""
    limits: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatChunk:
    """A piece of a streamed answer; the last one has `reply` set to the whole.

    `calls` are deltas of tool calls in OpenAI's shape. A client may leave them out: they are in the reply again.
    """

    text: str = ""
    calls: tuple[Mapping[str, Any], ...] = ()
    reply: ChatReply | None = None
