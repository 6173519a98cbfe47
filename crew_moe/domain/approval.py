"""Approval of one expert for one request by a person: bound to both and to a price, good once, for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from crew_moe.domain.word import Word


class ApprovalState(Word):
    """Where an approval stands; the last three are final."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One question to a person, and the answer.

    `digest` names the exact request (with the key of the log, so that the text can't be guessed from it), and
    `max_cost_nano` is the most that the call may cost, in nano-USD. `roles` may answer (empty: everybody who may use
    the store). `summary` is shown to the approver; it holds no text of the prompt.
    """

    id: str
    digest: str
    expert_id: str
    max_cost_nano: int
    state: ApprovalState
    summary: str
    roles: tuple[str, ...] = ()
    tenant: str | None = None
    asked_by: str | None = None
    task: str | None = None
    decision_id: str = ""
    created_at: datetime
    expires_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "id": self.id,
            "state": self.state.value,
            "expert_id": self.expert_id,
            "max_cost_usd": f"{Decimal(self.max_cost_nano) / 1_000_000_000:f}",
            "summary": self.summary,
            "roles": list(self.roles),
            "tenant": self.tenant,
            "asked_by": self.asked_by,
            "task": self.task,
            "decision_id": self.decision_id,
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "decided_by": self.decided_by,
            "decided_at": None if self.decided_at is None else self.decided_at.isoformat(),
            "why": self.why,
        }
