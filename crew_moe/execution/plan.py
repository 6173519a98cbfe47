"""How much one call may take: the trail with its limits, and each expert's room for an answer."""

from __future__ import annotations

from typing import Final

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.domain.policy import Limits
from crew_moe.domain.registry import Registry
from crew_moe.execution.route import Route
from crew_moe.execution.spend import Size
from crew_moe.execution.trail import Option, Trail

DEFAULT_TIMEOUT_MS: Final = 120_000.0
"""Of one attempt, when the route names none."""


def planned(route: Route, registry: Registry, limits: Limits) -> Trail:
    """The trail before its first step. Raises UnknownExpert."""
    experts = [registry[expert_id] for expert_id in route.experts]
    return Trail(
        options=tuple(Option(expert_id=one.expert_id, context_window=one.context_window) for one in experts),
        max_attempts=route.max_attempts,
        attempt_timeout_ms=DEFAULT_TIMEOUT_MS if route.attempt_timeout_ms is None else route.attempt_timeout_ms,
        max_wait_ms=limits.max_retry_after_ms,
        max_queue_ms=limits.max_queue_ms,
    )


def wanted_output(expert: Expert, route: Route, chat: ChatRequest, limits: Limits) -> int:
    """Output tokens that are asked for: by the chat, at most by the route, by the policy where neither says."""
    asked = [tokens for tokens in (chat.max_output_tokens, route.max_output_tokens) if tokens is not None]
    return min(*(asked or [limits.default_max_output_tokens]), expert.max_output_tokens)


def least_output(expert: Expert, route: Route, chat: ChatRequest, limits: Limits) -> int:
    """Output tokens below which a call is not worth making."""
    return min(limits.min_output_tokens, wanted_output(expert, route, chat, limits))


def output_cap(expert: Expert, route: Route, chat: ChatRequest, limits: Limits, *, size: Size) -> int:
    """The `max_tokens` to ask for: what is wanted, cut to what the context window leaves."""
    room = min(wanted_output(expert, route, chat, limits), expert.context_window - size.estimate)
    return max(least_output(expert, route, chat, limits), room)
