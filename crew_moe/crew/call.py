"""One call of an LLM seat: what CrewAI hands over, and what the call needs of an expert."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

from crewai.utilities.pydantic_schema_utils import generate_model_description
from pydantic import BaseModel

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Capability
from crew_moe.routing.features import estimate_tokens

if TYPE_CHECKING:
    from crewai import Task
    from crewai.agents.agent_builder.base_agent import BaseAgent

IMAGE_PARTS: Final = frozenset({"image", "image_url", "input_image"})
TOKENS_PER_IMAGE: Final = 1_000
MAX_TEXT_CHARS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What the owner of a seat asked for in its own `llm:`; it is kept whichever expert serves."""

    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LLMCall:
    """One call as CrewAI makes it. Messages and tools are in OpenAI's shape."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    available_functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    response_model: type[BaseModel] | None = None
    from_task: Task | None = None
    from_agent: BaseAgent | None = None
    stream: bool = False
    stop: Sequence[str] = ()
    sampling: Sampling = Sampling()

    @cached_property
    def requires(self) -> frozenset[Capability]:
        """Capabilities that the call itself shows to be needed."""
        needed = set()
        if self.tools:
            needed.add(Capability.TOOLS)
        if self.response_model is not None:
            needed.add(Capability.JSON)
        if self.stream:
            needed.add(Capability.STREAMING)
        if self._images:
            needed.add(Capability.VISION)
        return frozenset(needed)

    @cached_property
    def text(self) -> str:
        """What the request is about, for features: the task's words, else the newest message of the user."""
        if self.from_task is not None:
            text = f"{self.from_task.description}\n{self.from_task.expected_output}"
        else:
            asked = (_text_of(message) for message in reversed(self.messages) if message.get("role") == "user")
            text = next(asked, "")
        return text[:MAX_TEXT_CHARS]

    @cached_property
    def input_tokens(self) -> int:
        """Estimated tokens of the whole conversation, tools and images included."""
        words = sum(estimate_tokens(_text_of(message)) for message in self.messages)
        calls = sum(len(str(message["tool_calls"])) // 4 for message in self.messages if message.get("tool_calls"))
        return words + calls + len(str(self.tools)) // 4 * bool(self.tools) + self._images * TOKENS_PER_IMAGE

    @property
    def context_tokens(self) -> int:
        """Tokens beyond those of `text`."""
        return max(0, self.input_tokens - estimate_tokens(self.text))

    @cached_property
    def _images(self) -> int:
        return sum(
            1
            for message in self.messages
            if isinstance(message.get("content"), list)
            for part in message["content"]
            if isinstance(part, Mapping) and part.get("type") in IMAGE_PARTS
        )

    def chat(self, max_output_tokens: int | None, *, temperature: float | None = None) -> ChatRequest:
        """The request as an expert gets it; `temperature` holds where the seat asks for none."""
        own = self.sampling.temperature
        return ChatRequest(
            messages=self.messages,
            max_output_tokens=max_output_tokens,
            temperature=temperature if own is None else own,
            seed=self.sampling.seed,
            stop=tuple(self.stop),
            tools=self.tools,
            response_format=_response_format(self.response_model) if self.response_model is not None else None,
        )


def openai_tools(tools: Sequence[Mapping[str, Any]] | None) -> tuple[Mapping[str, Any], ...]:
    """CrewAI's tool schemas without `strict`, which half of the providers refuse."""
    return tuple(
        {"type": "function", "function": {name: value for name, value in _function(tool).items() if name != "strict"}}
        for tool in tools or ()
    )


def parse_answer(text: str, model: type[BaseModel]) -> BaseModel | str:
    """The answer as the model that was asked for; the text itself when it does not fit (CrewAI then converts it)."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return text
    try:
        return model.model_validate(json.loads(text[start : end + 1]))
    except ValueError:
        return text


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = tool.get("function")
    return inner if isinstance(inner, Mapping) else {key: value for key, value in tool.items() if key != "type"}


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


@lru_cache(maxsize=64)
def _response_format(model: type[BaseModel]) -> Mapping[str, Any]:
    return dict(generate_model_description(model))
