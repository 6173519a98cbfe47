"""Approvals as values: what an answer, a use or the passing of time does to one.

    pending --yes--> approved --used--> used
    pending --no--> denied
    pending, approved --time--> expired
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from crew_moe.domain.approval import Approval, ApprovalState

KEPT: Final = timedelta(days=30)
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # without letters that look like digits
ID_CHARS: Final = 26  # of five bits each


class Signal(StrEnum):
    """What moves an approval."""

    YES = "yes"
    NO = "no"
    USE = "use"
    TIME = "time"


TRANSITIONS: Final[Mapping[tuple[ApprovalState, Signal], ApprovalState]] = {
    (ApprovalState.PENDING, Signal.YES): ApprovalState.APPROVED,
    (ApprovalState.PENDING, Signal.NO): ApprovalState.DENIED,
    (ApprovalState.PENDING, Signal.TIME): ApprovalState.EXPIRED,
    (ApprovalState.APPROVED, Signal.USE): ApprovalState.USED,
    (ApprovalState.APPROVED, Signal.TIME): ApprovalState.EXPIRED,
}
OPEN: Final = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})


def new_approval_id() -> str:
    """130 random bits, without letters that are mistaken for others."""
    return "".join(secrets.choice(ALPHABET) for _ in range(ID_CHARS))


def as_of(approval: Approval, now: datetime) -> Approval:
    """The approval after the time that has passed."""
    if now < approval.expires_at:
        return approval
    return _moved(approval, Signal.TIME)


def answered(approval: Approval, *, approve: bool, by: str, why: str, now: datetime) -> Approval:
    """The approval after an answer; as it was where none is due any more."""
    before = as_of(approval, now)
    after = _moved(before, Signal.YES if approve else Signal.NO)
    return before if after is before else replace(after, decided_by=by, decided_at=now, why=why)


def used(approval: Approval, *, digest: str, expert_id: str, max_cost_nano: int, now: datetime) -> Approval | None:
    """The approval once it is used up; None where it was not given for exactly this."""
    before = as_of(approval, now)
    fits = (before.digest, before.expert_id) == (digest, expert_id) and max_cost_nano <= before.max_cost_nano
    after = _moved(before, Signal.USE) if fits else before
    return None if after is before else after


def serves(known: Approval, asked: Approval, now: datetime) -> bool:
    """Whether an approval that is open covers what is asked now."""
    return (
        as_of(known, now).state in OPEN
        and (known.digest, known.expert_id, known.tenant) == (asked.digest, asked.expert_id, asked.tenant)
        and asked.max_cost_nano <= known.max_cost_nano
    )


def _moved(approval: Approval, signal: Signal) -> Approval:
    after = TRANSITIONS.get((approval.state, signal))
    return approval if after is None else replace(approval, state=after)
