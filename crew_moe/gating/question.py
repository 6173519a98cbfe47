"""A question as it is bound to its call, read by a person, and kept on record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from crew_moe.domain.approval import Approval
from crew_moe.domain.digest import digest
from crew_moe.domain.verdict import GateContext
from crew_moe.gating.names import shown

MAX_SUMMARY_CHARS: Final = 400


def bound(context: GateContext, roles: Iterable[str]) -> str:
    """What an approval is bound to: this request, of this person, for this tenant, answered by one of these roles."""
    parts = json.dumps([context.digest, context.tenant, context.user, sorted(roles)])
    return digest(parts).hex()


def summary_of(context: GateContext, reason: str) -> str:
    """The question as a person reads it: what is to be called, for what, at most for how much, and why it is asked."""
    about = f" for task {shown(context.task)}" if context.task else ""
    traits = [shown(context.task_type), f"risk {shown(context.risk)}" if context.risk else ""]
    kind = f" ({', '.join(filter(None, traits))})" if any(traits) else ""
    cost = f"at most ${context.max_cost_usd.normalize():f}"
    line = f"{context.tier.value} expert {shown(context.expert_id)}{about}{kind}, {cost}"
    return shown(f"{line}: {reason}" if reason else line, MAX_SUMMARY_CHARS)


def audit_row(kind: str, approval: Approval, at: datetime, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the audit. Who asked is left out: of people, only those who decide stand in it by name."""
    return {
        "kind": kind,
        "approval_id": approval.id,
        "decision_id": approval.decision_id,
        "expert_id": approval.expert_id,
        "max_cost_nano": approval.max_cost_nano,
        "digest": approval.digest,
        "at": at.isoformat(),
        **fields,
    }
