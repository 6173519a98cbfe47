"""What a client is told of who served: the field `crew_moe` of an answer, and the headers."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from crew_moe.domain.outcome import Attempt, Completion

NOTICE: Final = (
    "The MOE service is currently unavailable. Your message has been processed using a fallback model instead."
)
"""Seed 003's sentence, to be shown to whoever chose a local expert and was answered by another."""
Headers = list[tuple[bytes, bytes]]


def fallback_note(served: str, before: Iterable[Attempt], *, local: str | None) -> str | None:
    """Why somebody else answered than who was to; None where nobody else did."""
    if local not in (None, served):
        return NOTICE
    failed = {row.expert_id: row.error for row in before if not row.ok and row.expert_id != served}
    if not failed:
        return None
    return f"{served} answered instead of {', '.join(f'{name} ({error})' for name, error in failed.items())}"


def told(completion: Completion, note: str | None) -> dict[str, Any]:
    """The field of a whole answer, or of a stream's last event."""
    return {
        "expert_id": completion.expert_id,
        "decision_id": completion.decision_id,
        "cost_usd": dollars(completion.cost_usd),
        "fallback": note,
        "attempts": [row.as_dict() for row in completion.attempts],
    }


def usage(completion: Completion) -> dict[str, Any]:
    """The tokens of every attempt together, in OpenAI's shape."""
    used = completion.usage
    return {
        "prompt_tokens": used.input_tokens,
        "completion_tokens": used.output_tokens,
        "total_tokens": used.input_tokens + used.output_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens, "audio_tokens": used.input_audio_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning_tokens,
            "audio_tokens": used.output_audio_tokens,
        },
    }


def headers(expert_id: str, decision_id: str, note: str | None, cost_usd: Decimal | None = None) -> Headers:
    """Who serves; the cost where it is known already."""
    cost = None if cost_usd is None else dollars(cost_usd)
    named = {
        b"x-crew-moe-expert": expert_id,
        b"x-crew-moe-decision": decision_id,
        b"x-crew-moe-cost-usd": cost,
        b"x-crew-moe-fallback": note,
    }
    return [(name, value.encode("ascii", "replace")) for name, value in named.items() if value is not None]


def dollars(amount: Decimal) -> str:
    """An amount without an exponent."""
    return f"{amount:f}"
