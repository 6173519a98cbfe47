"""Every error that the package raises, in one tree.

    CrewMoEError
     +- InvalidInput            something given was wrong (exit code 2); carries what, where, allowed, closest
     |   +- ConfigError         ... in a file
     |   +- InvalidRequest      ... in a request, an outcome or a feedback
     |   |   +- NotServed        ... a feedback on a decision that nobody served
     |   +- UnknownExpert       ... an expert id that the registry does not hold
     |   +- UnknownDecision     ... a decision id that the log does not hold
     |   +- UnknownCursor       ... a cursor that no page of a list gave
     |   +- UnknownReservation  ... a reservation id that the ledger does not hold
     |   +- UnknownService      ... a service id that nobody registered
     |   +- ServiceConflict     ... a service id that is somebody else's
     |   +- HostNotAllowed      ... an address that the router must not ask
     |   +- NotAvailable        ... a feature that this version names but can't run
     +- MissingExtra            an optional dependency is not installed (exit code 2)
     +- RefusedError            nothing may serve the request; carries the Infeasible (exit code 1)
     +- ExecutionFailed         every attempt failed; carries the attempts (exit code 1)
     +- CrewFailed              a crew ended by an error that is not the router's: a guardrail, a tool (exit code 1)
     +- CrewCancelled        whoever started a crew's run had it stopped (exit code 1)
     +- ScreeningFailed         a detector broke; what it should have looked at goes nowhere
     +- HostFailed              a hosted expert could not do what it was asked; carries the trouble
     +- StateError              the state store can't be used
     +- SimulationError         the simulated providers could not start

Expected refusals inside the library are values (Infeasible, Rejection); they become exceptions only where a
value can't be handed back, as in the middle of a crew's call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


def closest(value: object, allowed: Iterable[str]) -> str | None:
    """The allowed word nearest to `value`, or None when nothing is near."""
    found = get_close_matches(str(value), list(allowed), n=1, cutoff=0.6)
    return found[0] if found else None


class CrewMoEError(Exception):
    """Root of everything that crew-moe raises on purpose."""


class InvalidInput(CrewMoEError, ValueError):
    """One wrong thing that somebody gave us: what, where, what is allowed, and the closest match."""

    def __init__(self, what: str, *, where: str = "", value: object = None, allowed: Iterable[str] = ()) -> None:
        self.what = what
        self.where = where
        self.allowed = tuple(allowed)
        self.closest = closest(value, self.allowed) if value is not None else None
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.closest is not None:
            parts.append(f"did you mean '{self.closest}'?")
        if self.allowed:
            parts.append("allowed: " + ", ".join(self.allowed))
        return "; ".join(parts)


class ConfigError(InvalidInput):
    """A configuration file is wrong; `file` and `key` say where."""

    def __init__(
        self, what: str, *, file: str, key: str = "", value: object = None, allowed: Iterable[str] = ()
    ) -> None:
        self.file = file
        self.key = key
        where = f"{file}: {key}" if key else file
        super().__init__(what, where=where, value=value, allowed=allowed)


class InvalidRequest(InvalidInput):
    """A request, outcome or feedback does not have the documented shape; `where` is the field."""


class UnknownExpert(InvalidInput):
    """No expert of that id stands in the registry."""

    def __init__(self, expert_id: str, allowed: Iterable[str], *, where: str = "") -> None:
        self.expert_id = expert_id
        super().__init__(f"unknown expert '{expert_id}'", where=where, value=expert_id, allowed=allowed)


class UnknownDecision(InvalidInput):
    """The decision log holds no such decision (any more)."""

    def __init__(self, decision_id: str) -> None:
        self.decision_id = decision_id
        super().__init__(f"unknown decision '{decision_id}'")


class UnknownCursor(InvalidInput):
    """No page of a list gave this cursor."""

    def __init__(self) -> None:
        super().__init__("no page gave this cursor", where="cursor", allowed=("next_cursor of the page before",))


class NotServed(InvalidRequest):
    """There is no answer that could be judged: no expert served this decision."""

    def __init__(self, decision_id: str) -> None:
        self.decision_id = decision_id
        super().__init__("nobody served this decision: there is no answer to judge", where="decision_id")


class UnknownReservation(InvalidInput):
    """The ledger holds no such reservation (any more)."""

    def __init__(self, reservation_id: str) -> None:
        self.reservation_id = reservation_id
        super().__init__(f"unknown reservation '{reservation_id[:80]}'")


class UnknownService(InvalidInput):
    """Nobody registered a service of that id."""

    def __init__(self, service_id: str, allowed: Iterable[str] = ()) -> None:
        self.service_id = service_id
        super().__init__(f"unknown service '{service_id[:80]}'", value=service_id, allowed=allowed)


class ServiceConflict(InvalidInput):
    """A service can't have that id: it belongs to the catalogue, to the router itself, or to another owner."""

    def __init__(self, service_id: str, why: str) -> None:
        self.service_id = service_id
        super().__init__(f"'{service_id[:80]}' {why}", where="service_id")


class HostNotAllowed(InvalidInput):
    """An address leads where the router must not be sent; `where` is the field."""


class NotAvailable(InvalidInput):
    """A setting that the schema knows but that this version can't carry out yet."""

    def __init__(self, feature: str, *, where: str = "") -> None:
        self.feature = feature
        super().__init__(f"'{feature}' is not available yet in this version", where=where)


class MissingExtra(CrewMoEError, ImportError):
    """An optional dependency is absent; the message says what to install."""

    def __init__(self, extra: str, module: str) -> None:
        self.extra = extra
        self.module = module
        super().__init__(f"'{module}' is not installed; run: pip install 'crew-moe[{extra}]'")


class RefusedError(CrewMoEError):
    """Nothing may serve the request. `infeasible` names the binding constraint and the nearest miss."""

    def __init__(self, infeasible: Any) -> None:
        self.infeasible = infeasible
        super().__init__(str(infeasible))


class ExecutionFailed(CrewMoEError):
    """Every attempt of one call failed; `attempts` is the whole trail, in order. `remedy` says how a new decision could
    pass where the gate or a budget stood in the way (None: nothing would help).
    """

    def __init__(self, attempts: Sequence[Any], *, reason: str, remedy: Any = None) -> None:
        self.attempts = tuple(attempts)
        self.reason = reason
        self.remedy = remedy
        trail = "; ".join(str(attempt) for attempt in self.attempts) or "no attempt was possible"
        super().__init__(f"no expert could answer ({reason}): {trail}")


class CrewFailed(CrewMoEError):
    """A crew did not reach its end for a reason of its own: a guardrail that never passed, a tool, a callback."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"the crew failed: {type(cause).__name__}{f': {cause}' if str(cause) else ''}")


class CrewCancelled(CrewMoEError):
    """A run was stopped by whoever had started it, before its next call of a model."""

    def __init__(self) -> None:
        super().__init__("the run was cancelled; what it had spent until then stays spent")


class ScreeningFailed(CrewMoEError):
    """A detector could not say anything of a text; `concern` and `version` name it. The call must not be made."""

    def __init__(self, concern: str, version: str, cause: Exception) -> None:
        self.concern = concern
        self.version = version
        super().__init__(f"screening for {concern} failed ({version}): {type(cause).__name__}")


class HostFailed(CrewMoEError):
    """A hosted expert gave no answer. `trouble` (a domain.local_work.Trouble) says why, `what` tells it in words that
    hold nothing of the text that was given, and `next_steps` is what may be done about it. `retry_after_s` is what a
    server asked for that has too much to do.
    """

    def __init__(
        self, trouble: Any, what: str, *, next_steps: Iterable[str] = (), retry_after_s: float | None = None
    ) -> None:
        self.trouble = trouble
        self.what = what
        self.next_steps = tuple(next_steps)
        self.retry_after_s = retry_after_s
        super().__init__(f"{trouble}: {what}")


class StateError(CrewMoEError):
    """The state store can't be opened, read or written."""


class SimulationError(CrewMoEError):
    """The simulated providers could not start or their script is wrong."""
