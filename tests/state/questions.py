"""Approvals as the tests of their stores ask for them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from crew_moe.domain.approval import Approval, ApprovalState
from tests.state.given import NOW

TTL: Final = timedelta(minutes=15)


def approval_of(
    name: str, *, digest: str = "d1", expert: str = "o1", nano: int = 100, created_at: datetime = NOW
) -> Approval:
    """A question that nobody has answered, with its id."""
    return Approval(
        id=name,
        digest=digest,
        expert_id=expert,
        max_cost_nano=nano,
        state=ApprovalState.PENDING,
        summary="a premium expert",
        created_at=created_at,
        expires_at=created_at + TTL,
    )
