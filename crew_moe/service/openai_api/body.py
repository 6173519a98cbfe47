"""The body of a chat completion request: OpenAI's fields, and what they mean to the router.

What the router weighs or watches is read here. What only the model minds is passed on as it is; what can be neither
read nor passed on is refused by name, because leaving it out would change what the client gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SkipValidation,
    StrictBool,
    ValidationError,
    WithJsonSchema,
)

from crew_moe.domain.complaint import complaint, told
from crew_moe.domain.request import MaxTokens, Name, RoutingRequest
from crew_moe.errors import InvalidRequest

Json = dict[str, Any]
ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_MESSAGE: Final = {
    "type": "object",
    "required": ["role"],
    "properties": {"role": {"type": "string", "enum": list(ROLES)}, "content": {"type": ["string", "array", "null"]}},
}
MAX_MESSAGES: Final = 10_000
MAX_TOOLS: Final = 1_000
HINTS: Final = "crew_moe"
# Fields that go out as they came; each only where the client set it.
PASSED: Final = (
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "audio",
    "prediction",
    "service_tier",
    "metadata",
    "store",
    "prompt_cache_key",
    "safety_identifier",
    "web_search_options",
)


def _is_off(given: bool) -> bool:
    if given:
        raise ValueError("is not passed on: experts differ in it")
    return given


def _is_message(given: Json) -> Json:
    if given.get("role") not in ROLES:
        raise ValueError(f"a message needs one of the roles {', '.join(ROLES)}")
    if not isinstance(given.get("content"), str | list | None):
        raise ValueError("the content of a message must be a string or a list of parts")
    return given


Message = Annotated[Json, AfterValidator(_is_message), WithJsonSchema(_MESSAGE)]


def read_chat(body: bytes) -> ChatBody:
    """The request in a body. Raises InvalidRequest, which names the field and quotes nothing: any may be a prompt."""
    try:
        return ChatBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raised = InvalidRequest("is no JSON", where="body")
        elif first["type"] == "extra_forbidden":
            what, where, value, allowed = complaint(error, ChatBody)
            raised = InvalidRequest(what, where=where, value=value, allowed=allowed)
        else:
            what, allowed = told(first)
            raised = InvalidRequest(what, where=_place(first["loc"]), allowed=allowed)
    raise raised


def _place(loc: tuple[int | str, ...]) -> str:
    """The field, and which item of a list; what follows are pydantic's own names."""
    return ".".join(str(part) for part in loc[:2] if part is loc[0] or isinstance(part, int)) or "body"


class StreamOptions(BaseModel):
    """`include_usage` asks for the usage behind the answer; streams are never padded, whatever is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatBody(BaseModel):
    """A chat completion request in OpenAI's words; `crew_moe` has a RoutingRequest's fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: Name
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    tools: Annotated[list[Json], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | Json | None = None
    response_format: Json | None = None
    n: Literal[1] | None = None
    logprobs: Annotated[StrictBool, Field(json_schema_extra={"const": False}), AfterValidator(_is_off)] | None = None
    user: Name | None = None
    crew_moe: SkipValidation[RoutingRequest] | None = None

    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Json | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: Json | None = None
    prediction: Json | None = None
    service_tier: Literal["auto", "batch", "default", "flex"] | None = None
    metadata: Json | None = None
    store: bool | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    web_search_options: Json | None = None

    @property
    def longest(self) -> int | None:
        """The most tokens that the answer may have."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def hints(self) -> Mapping[str, Any]:
        """What the client tells the router itself. Raises InvalidRequest."""
        hints: object = {} if self.crew_moe is None else self.crew_moe
        if not isinstance(hints, dict):
            raise InvalidRequest("must be a mapping", where=HINTS)
        return hints

    def options(self) -> dict[str, Any]:
        """The call's options, as the router's own callers name them."""
        return {
            "max_output_tokens": self.longest,
            "temperature": self.temperature,
            "stop": self.stop,
            "seed": self.seed,
            "tools": self.tools,
            "tool_choice": self.tool_choice,
            "response_format": self.response_format,
            "extra": {name: given for name in PASSED if (given := getattr(self, name)) is not None},
        }
