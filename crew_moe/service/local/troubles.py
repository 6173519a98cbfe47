"""What a caller is told where the local gate gave no answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crew_moe.domain.local_work import LocalRefusal, Trouble
from crew_moe.surface.fault import Fault

_STATUSES: Final[Mapping[Trouble, int]] = {
    Trouble.INVALID_INPUT: 422,
    Trouble.INPUT_TOO_LONG: 413,
    Trouble.UNKNOWN_EXPERT: 404,
    Trouble.NOT_CAPABLE: 422,
    Trouble.MISSING_EXTRA: 503,
    Trouble.MISSING_WEIGHTS: 503,
    Trouble.BAD_WEIGHTS: 503,
    Trouble.OUT_OF_MEMORY: 503,
    Trouble.MODEL_FAILED: 502,
    Trouble.UNAVAILABLE: 503,
    Trouble.OVERLOADED: 429,
    Trouble.TIMEOUT: 504,
    Trouble.CANCELLED: 409,
}
_FIELDS: Final[Mapping[Trouble, str]] = {
    Trouble.INPUT_TOO_LONG: "text",
    Trouble.UNKNOWN_EXPERT: "expert",
    Trouble.NOT_CAPABLE: "expert",
}


def fault_of_refusal(refusal: LocalRefusal) -> Fault:
    """The refusal as a fault; what may be done stands in `suggestions`, one by one."""
    trouble = Trouble(refusal.trouble)
    return Fault(
        code=str(trouble),
        status=_STATUSES[trouble],
        what=refusal.what,
        where=_FIELDS.get(trouble, ""),
        allowed=refusal.allowed,
        next_step="; ".join(refusal.next_steps),
        retry_after_s=refusal.retry_after_s,
        data={"expert": refusal.expert, "suggestions": list(refusal.next_steps)},
    )
