"""Token counts by the names that CrewAI counts by."""

from __future__ import annotations

from threading import Lock

from crew_moe.domain.usage import Usage


def usage_fields(usage: Usage) -> dict[str, int]:
    """Usage as CrewAI's fields."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "cached_prompt_tokens": usage.cached_tokens,
        "cache_creation_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


class TokenCount:
    """Tokens of many calls, from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._usage = Usage()
        self._calls = 0

    def add(self, usage: Usage) -> None:
        with self._lock:
            self._usage += usage
            self._calls += 1

    def read(self) -> dict[str, int]:
        with self._lock:
            return {**usage_fields(self._usage), "successful_requests": self._calls}
