"""Usage is read in every provider's words, and nonsense is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.usage import Usage
from crew_moe.execution.usage import counted, usage_of
from tests.execution.test_failure import JSON

TOLD: list[tuple[dict[str, Any], Usage]] = [
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {
                "cached_tokens": 1, "cache_write_tokens": 2, "audio_tokens": 3, "image_tokens": 4
            },
            "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 6},
        },
        Usage(
            input_tokens=100,
            output_tokens=50,
            cached_tokens=1,
            cache_write_tokens=2,
            input_audio_tokens=3,
            input_image_tokens=4,
            reasoning_tokens=5,
            output_audio_tokens=6,
        ),
    ),
    (  # OpenAI's other API counts the cache within its input
        {"input_tokens": 100, "output_tokens": 50, "input_tokens_details": {"cached_tokens": 80}},
        Usage(input_tokens=100, output_tokens=50, cached_tokens=80),
    ),
    (  # Anthropic counts it beside
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 80,
            "cache_creation_input_tokens": 20,
            "service_tier": "batch",
        },
        Usage(input_tokens=110, output_tokens=5, cached_tokens=80, cache_write_tokens=20, batch=True),
    ),
    (  # as CrewAI puts Anthropic's together
        {"input_tokens": 110, "output_tokens": 5, "total_tokens": 115, "cached_prompt_tokens": 80,
         "cache_creation_tokens": 20},
        Usage(input_tokens=110, output_tokens=5, cached_tokens=80, cache_write_tokens=20),
    ),
    (
        {"inputTokens": 10, "outputTokens": 5, "totalTokens": 115, "cacheReadInputTokens": 80,
         "cacheWriteInputTokens": 20},
        Usage(input_tokens=110, output_tokens=5, cached_tokens=80, cache_write_tokens=20),
    ),
    (  # as CrewAI puts Gemini's together: thinking is within completion_tokens
        {"prompt_token_count": 100, "candidates_token_count": 10, "completion_tokens": 30, "total_tokens": 130,
         "cached_prompt_tokens": 60, "reasoning_tokens": 20},
        Usage(input_tokens=100, output_tokens=30, cached_tokens=60, reasoning_tokens=20),
    ),
    (  # DeepSeek
        {"prompt_tokens": 100, "completion_tokens": 1, "prompt_cache_hit_tokens": 60},
        Usage(input_tokens=100, output_tokens=1, cached_tokens=60),
    ),
]  # fmt: skip


def test_thinking_that_only_the_total_holds_is_output() -> None:
    told = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}
    details = {"completion_tokens_details": {"reasoning_tokens": 100}, "prompt_tokens_details": {"cached_tokens": 4}}

    assert usage_of({"usage": {**told, **details}}) == Usage(
        input_tokens=10, output_tokens=105, cached_tokens=4, reasoning_tokens=100
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    TOLD,
    ids=["chat", "responses", "anthropic", "crewai anthropic", "bedrock", "crewai gemini", "deepseek"],
)
def test_every_api_is_understood(told: dict[str, Any], expected: Usage) -> None:
    assert counted(told) == expected


@pytest.mark.parametrize(("tier", "batch"), [("batch", True), ("flex", True), ("default", False), (["batch"], False)])
def test_service_tier_tells_a_batch(tier: object, batch: bool) -> None:
    usage = usage_of({"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "service_tier": tier})

    assert usage == Usage(input_tokens=1, output_tokens=1, batch=batch)


def test_part_is_no_more_than_its_side() -> None:
    told = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 10**9}}

    assert counted(told) == Usage(input_tokens=3, output_tokens=2, cached_tokens=3)


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 10**18, "completion_tokens": 5},
        {"prompt_tokens": "9"},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"input_tokens": 5},
    ],
)
def test_nonsense_usage_is_no_usage(told: object) -> None:
    assert usage_of({"usage": told}) is None


NAMES = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens",
         "prompt_tokens_details", "service_tier", "cache_read_input_tokens")  # fmt: skip


@given(told=st.dictionaries(st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(NAMES), JSON)))
def test_whatever_is_told_parts_stay_within_their_side(told: dict[str, Any]) -> None:
    usage = counted(told)

    if usage is not None:
        assert 0 <= usage.cached_tokens <= usage.input_tokens
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens
