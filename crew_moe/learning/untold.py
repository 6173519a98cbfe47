"""What a log can't tell, with the reason: a value, so that no figure stands where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from crew_moe.domain.word import Word


class Why(Word):
    """Why a figure can't be told."""

    TOO_FEW = "too_few"
    NOT_PREDICTED = "not_predicted"
    NOT_OBSERVED = "not_observed"
    NO_OVERLAP = "no_overlap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A figure that the log does not hold."""

    ok: ClassVar[bool] = False

    why: Why
    message: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"ok": False, "why": self.why.value, "message": self.message}
