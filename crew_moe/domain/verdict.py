"""What the gate is asked, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from crew_moe.domain.expert import Tier
from crew_moe.domain.screening import Concern
from crew_moe.domain.word import Word


class Ruling(Word):
    """The four answers, from the mildest to the strictest."""

    ALLOW = "allow"
    DOWNGRADE = "downgrade"
    HOLD = "hold"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says of one call: `check` names what decided, `reason` says it to a person.

    `tier` is the highest that a downgraded call may use, `approval_id` whom a held one waits for, `retry_after_s` when
    a denied one may come again.
    """

    ruling: Ruling
    check: str = ""
    reason: str = ""
    tier: Tier | None = None
    approval_id: str | None = None
    retry_after_s: float | None = None

    @property
    def allowed(self) -> bool:
        return self.ruling is Ruling.ALLOW

    def named(self, check: str) -> Verdict:
        """The same verdict, with the name of the check that gave it."""
        return replace(self, check=self.check or check)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ruling": self.ruling.value,
            "check": self.check,
            "reason": self.reason,
            "tier": None if self.tier is None else self.tier.value,
            "approval_id": self.approval_id,
            "retry_after_s": self.retry_after_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GateContext:
    """Everything that a check may look at about one call; never the text itself.

    `digest` names the exact request, `max_cost_usd` is the worst that the call may cost, `scores` the worst score of
    each concern that was screened (absent: not screened), `left` the share (0-1) that the tightest budget has left
    (None: no budget). `approval` tells that the task itself asks for approval of this tier and above; `granted` are the
    experts that a person has let pass for this very task already. `time_s` is how long the call may take, where known.
    """

    expert_id: str
    provider: str
    tier: Tier
    digest: str
    max_cost_usd: Decimal
    now: datetime
    decision_id: str = ""
    task: str | None = None
    task_type: str = ""
    risk: str = "low"
    tenant: str | None = None
    user: str | None = None
    roles: frozenset[str] = frozenset()
    workspace: str | None = None
    channel: str | None = None
    run_id: str | None = None
    scores: Mapping[Concern, float] = field(default_factory=dict)
    left: float | None = None
    approval: Tier | None = None
    granted: frozenset[str] = frozenset()
    time_s: float = 0.0
