"""Usage as providers tell it, each in its own words, read with suspicion.

OpenAI and those who speak its API count everything that was sent in `prompt_tokens`; Anthropic and Bedrock count what
came from a cache or went into it beside their input, so the whole has to be put together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from crew_moe.domain.usage import Usage

Path = tuple[str, ...]


class _Shape(NamedTuple):
    """How one API names the two sides of a call, and what it counts beside its input."""

    input: str
    output: str
    beside: tuple[str, ...] = ()


_SHAPES: Final = (
    _Shape("prompt_tokens", "completion_tokens"),
    _Shape("input_tokens", "output_tokens", ("cache_read_input_tokens", "cache_creation_input_tokens")),
    _Shape("inputTokens", "outputTokens", ("cacheReadInputTokens", "cacheWriteInputTokens")),
    _Shape("prompt_token_count", "completion_tokens"),
)

# Where a part of a side may stand; the first place that has any holds.
_INPUT_PARTS: Final[Mapping[str, tuple[Path, ...]]] = {
    "cached_tokens": (
        ("prompt_tokens_details", "cached_tokens"),
        ("input_tokens_details", "cached_tokens"),
        ("cached_tokens",),
        ("cached_prompt_tokens",),
        ("cache_read_input_tokens",),
        ("cacheReadInputTokens",),
        ("prompt_cache_hit_tokens",),
    ),
    "cache_write_tokens": (
        ("prompt_tokens_details", "cache_write_tokens"),
        ("input_tokens_details", "cache_write_tokens"),
        ("cache_creation_tokens",),
        ("cache_creation_input_tokens",),
        ("cacheWriteInputTokens",),
    ),
    "input_audio_tokens": (("prompt_tokens_details", "audio_tokens"),),
    "input_image_tokens": (("prompt_tokens_details", "image_tokens"),),
}
_OUTPUT_PARTS: Final[Mapping[str, tuple[Path, ...]]] = {
    "reasoning_tokens": (
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "thinking_tokens"),
        ("reasoning_tokens",),
    ),
    "output_audio_tokens": (("completion_tokens_details", "audio_tokens"),),
}
_AT_LEISURE: Final = ("batch", "flex")
"""Service tiers at the price of a batch: OpenAI charges its flex tier the same."""
MAX_COUNT: Final = 1_000_000_000
"""A hundred times what the widest context window holds."""


def usage_of(data: Mapping[str, Any]) -> Usage | None:
    """The tokens that an answer tells of; None when it tells none, or nonsense."""
    told = data.get("usage")
    return counted(told, tier=data.get("service_tier")) if isinstance(told, Mapping) else None


def counted(told: Mapping[str, Any], *, tier: object = None) -> Usage | None:
    """The usage in a provider's words; None for nonsense.

    Some count thinking outside of their output but within `total_tokens`: what the total holds beyond both sides was
    written by the model and is billed as output.
    """
    for shape in _SHAPES:
        taken, given = _count(told.get(shape.input)), _count(told.get(shape.output))
        if taken is not None and given is not None:
            break
    else:
        return None
    taken += sum(_count(told.get(name)) or 0 for name in shape.beside)
    given = max(given, (_count(told.get("total_tokens")) or 0) - taken)
    return Usage(
        input_tokens=taken,
        output_tokens=given,
        batch=(tier or told.get("service_tier")) in _AT_LEISURE,
        **{name: min(_first(told, paths), taken) for name, paths in _INPUT_PARTS.items()},
        **{name: min(_first(told, paths), given) for name, paths in _OUTPUT_PARTS.items()},
    )


def _first(told: Mapping[str, Any], paths: Sequence[Path]) -> int:
    return next(filter(None, (_at(told, path) for path in paths)), 0)


def _at(told: Mapping[str, Any], path: Path) -> int:
    value: object = told
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return _count(value) or 0


def _count(value: object) -> int | None:
    """A count of tokens; nonsense (negative, a word, a truth value, more than any window holds) is no count."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT else None
