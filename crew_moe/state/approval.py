"""Approvals as values: what an answer, a use or the passing of time makes of one.

    pending --yes--> approved --use--> used
    pending --no--> denied
    pending, approved --time--> expired

Whatever comes too late, twice or for something else changes nothing: there is no row for it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from random import SystemRandom
from typing import Any, Final

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.domain.digest import digest
from crew_moe.errors import InvalidInput

KEPT: Final = timedelta(days=30)
MAX_ID: Final = 200
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: without letters that look like digits
_ID_CHARS: Final = 26  # of five bits each
_MOMENTS: Final = frozenset({"created_at", "expires_at", "decided_at"})
_RANDOM: Final = SystemRandom()


class Signal(StrEnum):
    """What moves an approval from one state to another."""

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
    """130 bits of the system's own randomness in characters that nobody mistakes for others."""
    return "".join(_RANDOM.choices(_ALPHABET, k=_ID_CHARS))


def is_id(text: str) -> bool:
    """Whether a text can be the id of an approval at all; no store looks for anything else."""
    return 0 < len(text) <= MAX_ID and text.isascii() and text.isprintable() and " " not in text


def asked(approval: Approval) -> Approval:
    """The approval, if it may be stored. Raises InvalidInput for one that nobody could answer or that is answered."""
    faults = {
        "id": not is_id(approval.id),
        "state": approval.state is not ApprovalState.PENDING,
        "max_cost_nano": approval.max_cost_nano < 0,
        "expires_at": approval.expires_at <= approval.created_at,
    }
    for name, wrong in faults.items():
        if wrong:
            shown = str(getattr(approval, name))[:MAX_ID]
            raise InvalidInput(f"an approval can't be asked for with {name} {shown!r}", where="approval")
    return approval


def taken(approval: Approval) -> InvalidInput:
    """What is raised when the id of a new approval belongs to another one."""
    return InvalidInput(f"there is an approval '{approval.id}' already", where="approval")


def about(approval: Approval) -> tuple[str, str, str | None]:
    """What the approval is about: request, expert and tenant."""
    return approval.digest, approval.expert_id, approval.tenant


def subject(approval: Approval) -> str:
    """A name for what it is about, of equal length whatever that holds."""
    return digest(json.dumps(about(approval))).hex()


def covering(known: Iterable[Approval], wanted: Approval) -> Approval | None:
    """The approval among `known` that is open for what is wanted; an answered one before a pending one, then by age."""
    now = wanted.created_at
    fitting = [
        one
        for one in known
        if about(one) == about(wanted) and wanted.max_cost_nano <= one.max_cost_nano and as_of(one, now).state in OPEN
    ]
    return min(fitting, key=lambda one: (one.state is ApprovalState.PENDING, one.created_at, one.id), default=None)


def as_of(approval: Approval, now: datetime) -> Approval:
    """The approval after the time that has passed."""
    return approval if now < approval.expires_at else _moved(approval, Signal.TIME)


def forgotten(approval: Approval, now: datetime) -> bool:
    """Whether it ended so long ago that nobody asks for it any more."""
    return now >= approval.expires_at + KEPT


def answered(approval: Approval, *, approve: bool, by: str, why: str, now: datetime) -> Approval:
    """The approval after an answer; as it was where none is due any more."""
    before = as_of(approval, now)
    after = _moved(before, Signal.YES if approve else Signal.NO)
    return before if after is before else replace(after, decided_by=by, decided_at=now, why=why)


def used(approval: Approval, *, digest: str, expert_id: str, max_cost_nano: int, now: datetime) -> Approval:
    """The approval after a use; USED by it only where it was given for exactly this, at no lower price."""
    before = as_of(approval, now)
    fits = (before.digest, before.expert_id) == (digest, expert_id) and 0 <= max_cost_nano <= before.max_cost_nano
    return _moved(before, Signal.USE) if fits else before


def to_text(approval: Approval) -> str:
    """JSON, for a store; every field survives the way."""
    values = {field.name: getattr(approval, field.name) for field in fields(approval)}
    return json.dumps(
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()},
        separators=(",", ":"),
    )


def from_text(text: str) -> Approval:
    values: dict[str, Any] = json.loads(text)
    moments = {name: datetime.fromisoformat(values[name]) for name in _MOMENTS if values[name] is not None}
    return Approval(**(values | moments | {"state": ApprovalState(values["state"]), "roles": tuple(values["roles"])}))


def by_age(approvals: Iterable[Approval]) -> tuple[Approval, ...]:
    """Those that wait for an answer, oldest first."""
    waiting = (one for one in approvals if one.state is ApprovalState.PENDING)
    return tuple(sorted(waiting, key=lambda one: (one.created_at, one.id)))


class Answering(ABC):
    """What every store does with one approval, over its own way to change a record."""

    @abstractmethod
    def _change(
        self, approval_id: str, now: datetime, change: Callable[[Approval], Approval]
    ) -> tuple[Approval | None, Approval | None]:
        """The approval before and after a pure change, made atomically; None twice where it is unknown or forgotten."""

    def get(self, approval_id: str, now: datetime) -> Approval | None:
        """What is seen to be expired stays so, whatever a clock says later."""
        return self._change(approval_id, now, lambda found: as_of(found, now))[1]

    def answer(self, approval_id: str, *, approve: bool, by: str, why: str, now: datetime) -> Approval | None:
        def change(found: Approval) -> Approval:
            return answered(found, approve=approve, by=by, why=why, now=now)

        return self._change(approval_id, now, change)[1]

    def use(self, approval_id: str, *, digest: str, expert_id: str, max_cost_nano: int, now: datetime) -> bool:
        def change(found: Approval) -> Approval:
            return used(found, digest=digest, expert_id=expert_id, max_cost_nano=max_cost_nano, now=now)

        before, after = self._change(approval_id, now, change)
        return after is not before and after is not None and after.state is ApprovalState.USED


def _moved(approval: Approval, signal: Signal) -> Approval:
    after = TRANSITIONS.get((approval.state, signal))
    return approval if after is None else replace(approval, state=after)
