"""An error as a caller is told of it, the same over every surface: a code, a sentence, what is valid, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crew_moe.domain.decision import Infeasible
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import (
    CrewCancelled,
    CrewFailed,
    CrewMoEError,
    ExecutionFailed,
    HostNotAllowed,
    InvalidInput,
    InvalidRequest,
    MissingExtra,
    NotAvailable,
    NotServed,
    RefusedError,
    ScreeningFailed,
    ServiceConflict,
    StateError,
    UnknownCursor,
    UnknownDecision,
    UnknownExpert,
    UnknownReservation,
    UnknownService,
)
from crew_moe.execution.trail import StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`status` is HTTP's. `data` is JSON-ready and holds no prompt, no secret and no value that the caller sent."""

    code: str
    status: int
    what: str
    where: str = ""
    allowed: tuple[str, ...] = ()
    closest: str | None = None
    next_step: str = ""
    retry_after_s: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """`code: what; valid values; next step`."""
        place = f"{self.where}: " if self.where else ""
        valid = f"valid: {', '.join(self.allowed)}" if self.allowed else ""
        return f"{self.code}: {'; '.join(filter(None, (place + self.what, valid, self._next)))}"

    @property
    def _next(self) -> str:
        return f"did you mean '{self.closest}'?" if self.closest else self.next_step

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable twin of the sentence."""
        return {
            "code": self.code,
            "message": self.what,
            "where": self.where or None,
            "allowed": list(self.allowed),
            "closest": self.closest,
            "next_step": self._next or None,
            "retry_after_s": self.retry_after_s,
            **self.data,
        }


# The first row that an error is an instance of tells its code, its status, and what the caller can do.
_KNOWN: Final[tuple[tuple[type[CrewMoEError], str, int, str], ...]] = (
    (UnknownExpert, "unknown_expert", 404, "list the experts to see the ids"),
    (UnknownDecision, "unknown_decision", 404, "use a decision_id that this router gave, and that it still keeps"),
    (UnknownCursor, "unknown_cursor", 404, "begin with the first page"),
    (UnknownReservation, "unknown_reservation", 404, "look at the open charges"),
    (UnknownService, "unknown_service", 404, "list the services to see the ids"),
    (ServiceConflict, "service_conflict", 409, "choose another id"),
    (HostNotAllowed, "host_not_allowed", 403, "have whoever runs this router list the host or its network"),
    (NotAvailable, "not_available", 409, "leave it out"),
    (NotServed, "not_served", 409, "judge a decision that an expert answered"),
    (InvalidRequest, "invalid_request", 422, "mend the field that is named"),
    (InvalidInput, "invalid_input", 422, "mend what is named"),
    (MissingExtra, "not_configured", 404, "ask whoever runs this router to install it"),
    (ScreeningFailed, "screening_failed", 503, "try again later"),
    (StateError, "state_unavailable", 503, "try again later"),
    (CrewCancelled, "cancelled", 409, "start the run again"),
    (CrewFailed, "crew_failed", 422, "look at the crew's own guardrails and tools"),
)
_RETRY_S: Final = 1.0
_REFUSED_STATUS: Final[Mapping[str, int]] = {
    "budget_usd": 402,
    "access": 403,
    "pii": 403,
    "injection": 403,
    "toxicity": 403,
    "language": 403,
}
# Why nobody answered, as the executor says it.
_FAILED: Final[Mapping[str, tuple[str, int, str]]] = {
    StopReason.DEADLINE: ("deadline", 504, "allow more time, or a faster expert"),
    StopReason.BUDGET: ("over_budget", 402, "raise the budget, or wait for its next window"),
    StopReason.SPENT: ("over_budget", 402, "raise the budget, or wait for its next window"),
    StopReason.HELD: ("approval_pending", 403, "have it approved, then send the request again"),
    StopReason.DECLINED: ("approval_declined", 403, "ask for a cheaper tier"),
    StopReason.DENIED: ("denied", 403, "ask for another expert, or have the gate's rules changed"),
    StopReason.ROOM: ("no_room", 429, "wait for the providers' limits, or ask for another tier"),
    StopReason.REJECTED: ("rejected", 422, "look at what the experts say of the request"),
}
# What a new decision could not mend either: everybody was turned away for the same kind of reason.
_TURNED_AWAY: Final[Mapping[str, str]] = {
    ErrorClass.OVER_BUDGET: StopReason.BUDGET,
    ErrorClass.DENIED: StopReason.DENIED,
    ErrorClass.HELD: StopReason.HELD,
    ErrorClass.NO_ROOM: StopReason.ROOM,
    ErrorClass.BAD_REQUEST: StopReason.REJECTED,
}
_NOBODY: Final = ("no_expert_answered", 502, "try again later, or ask for another tier")


def fault_of(error: CrewMoEError) -> Fault:
    """What a caller is told of `error`."""
    if isinstance(error, RefusedError):
        return refused(error.infeasible)
    if isinstance(error, ExecutionFailed):
        return _failed(error)
    code, status, advice = next((row[1:] for row in _KNOWN if isinstance(error, row[0])), ("failed", 500, ""))
    if isinstance(error, InvalidInput):
        return Fault(
            code=code,
            status=status,
            what=error.what,
            where=error.where,
            allowed=error.allowed,
            closest=error.closest,
            next_step=advice,
        )
    retry = _RETRY_S if status == 503 else None
    return Fault(code=code, status=status, what=str(error), next_step=advice, retry_after_s=retry)


def refused(infeasible: Infeasible) -> Fault:
    """Nobody may serve the request."""
    told = infeasible.as_dict()
    return Fault(
        code="infeasible",
        status=_REFUSED_STATUS.get(infeasible.binding, 409),
        what=infeasible.message,
        where=infeasible.binding,
        next_step="loosen the limit that is named",
        data={name: told[name] for name in ("decision_id", "binding", "nearest")},
    )


def _failed(error: ExecutionFailed) -> Fault:
    code, status, advice = _FAILED.get(_reason(error), _NOBODY)
    if error.reason == StopReason.DEADLINE and not error.attempts:
        status = 409  # nobody was asked: the time was up when the request came
    return Fault(
        code=code,
        status=status,
        what=str(error),
        next_step=advice,
        data={"attempts": [attempt.as_dict() for attempt in error.attempts]},
    )


def _reason(error: ExecutionFailed) -> str:
    """Why nobody answered, where the attempts know it better than the last decision."""
    if str(error.reason) in _FAILED:
        return str(error.reason)
    met = {attempt.error for attempt in error.attempts}
    return next((reason for kind, reason in _TURNED_AWAY.items() if met == {kind}), "")
