"""What to do next, after what has happened: the executor's decisions as a pure state machine.

A `Trail` is one call of a model on its way through its experts, chosen first, fallbacks behind. `step` says what to do
now; `after` (with what became of it) and `waited` give the trail that follows. Every expert is left for good but for
one wait for a `Retry-After`, and for waits for room at its provider: it takes its turn again behind all others, and
waits there no longer than `max_queue_ms` in all. So a trail ends.

    Call(expert)   ask whether it may be called, then call it; tell `after`
    Skip(expert)   the expert can't serve this; note it, tell `after`
    Wait(ms)       sleep, tell `waited`
    Stop(reason)   nobody is left, or nothing may be tried any more
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from crew_moe.domain.outcome import ErrorClass

SETUP_EJECTION_MS: Final = 300_000.0
"""A wrong key or model id does not heal by itself, but somebody may mend it: try again after five minutes."""
LEAST_WAIT_MS: Final = 10.0


class Then(StrEnum):
    """How a trail goes on after a failure."""

    NEXT = "next"
    NEXT_ONCE = "next_once"  # a second expert that says the same is right
    RETRY = "retry"  # after the wait that was asked for, when it is short; else next
    LARGER = "larger"  # only experts with a larger context window
    LATER = "later"  # when all others have had their turn, and there is room


class Blame(StrEnum):
    """What a failure tells about a breaker's subject."""

    NONE = "none"
    FAIL = "fail"
    EJECT = "eject"


@dataclass(frozen=True, slots=True)
class Reaction:
    """What follows from one class of failures.

    `may_cost`: a request that was sent may be charged, nobody knows; it counts at its worst case.
    """

    then: Then
    expert: Blame = Blame.NONE
    provider: Blame = Blame.NONE
    may_cost: bool = False


REACTIONS: Final[Mapping[ErrorClass, Reaction]] = {
    ErrorClass.TIMEOUT: Reaction(Then.NEXT, Blame.FAIL, Blame.FAIL, may_cost=True),
    ErrorClass.SERVER: Reaction(Then.NEXT, Blame.FAIL, Blame.FAIL, may_cost=True),
    ErrorClass.CONNECTION: Reaction(Then.NEXT, Blame.FAIL, Blame.FAIL, may_cost=True),
    ErrorClass.MALFORMED: Reaction(Then.NEXT, Blame.FAIL, may_cost=True),
    ErrorClass.RATE_LIMIT: Reaction(Then.RETRY, Blame.FAIL),
    ErrorClass.AUTH: Reaction(Then.NEXT, Blame.EJECT),
    ErrorClass.NOT_FOUND: Reaction(Then.NEXT, Blame.EJECT),
    ErrorClass.BAD_REQUEST: Reaction(Then.NEXT_ONCE),
    ErrorClass.REFUSED: Reaction(Then.NEXT),
    ErrorClass.CONTEXT_OVERFLOW: Reaction(Then.LARGER),
    ErrorClass.CIRCUIT_OPEN: Reaction(Then.NEXT),
    ErrorClass.SKIPPED: Reaction(Then.NEXT, may_cost=True),
    ErrorClass.NO_ROOM: Reaction(Then.LATER),
    ErrorClass.OVER_BUDGET: Reaction(Then.NEXT),
    ErrorClass.HELD: Reaction(Then.NEXT),
    ErrorClass.DENIED: Reaction(Then.NEXT),
}


class StopReason(StrEnum):
    """Why a trail ends without an answer."""

    EXHAUSTED = "no expert is left"
    BUDGET = "no expert is left within the budget"
    SPENT = "a budget is used up, and the policy denies more"
    DENIED = "the gate lets no expert pass that is left"
    HELD = "nobody approved in time"
    DECLINED = "a person said no"
    ROOM = "no provider has room"
    ATTEMPTS = "the cap on attempts is reached"
    DEADLINE = "the deadline has passed"
    REJECTED = "two experts found the request wrong"
    PARTIAL = "the stream broke after its first words"
    CANCELLED = "the run was cancelled"


_UNSERVED: Final[Mapping[ErrorClass, StopReason]] = {
    ErrorClass.OVER_BUDGET: StopReason.BUDGET,
    ErrorClass.DENIED: StopReason.DENIED,
    ErrorClass.HELD: StopReason.HELD,
    ErrorClass.NO_ROOM: StopReason.ROOM,
}
"""What a trail ends by when somebody was passed over for this, the first in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An expert on the trail, and its window in tokens; `again` when it has had its turn and found no room."""

    expert_id: str
    context_window: int
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Call this expert now. `whole`: it has all the time of an attempt, not just what a deadline left."""

    expert_id: str
    timeout_ms: float
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Pass this expert over."""

    expert_id: str
    error: ErrorClass
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Sleep before the next step."""

    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """There is nothing more to try."""

    reason: StopReason


Step = Call | Skip | Wait | Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Where one call stands. The first five fields are its plan, the rest what happened.

    `at` is the expert in turn, `calls` counts the calls made. Only an expert whose window is larger than `window` may
    still serve; `wait_ms` is set while a wait is due, `queued_ms` adds up those for room; `unserved` holds why experts
    were passed over that might have answered.
    """

    options: tuple[Option, ...]
    max_attempts: int
    attempt_timeout_ms: float
    max_wait_ms: float
    max_queue_ms: float = 0.0
    at: int = 0
    calls: int = 0
    window: int = 0
    wait_ms: float | None = None
    retried: bool = False
    rejected: bool = False
    queued_ms: float = 0.0
    unserved: frozenset[ErrorClass] = frozenset()
    stopped: StopReason | None = None

    def step(self, left_ms: float | None) -> Step:
        """What to do now; `left_ms` is the time to the deadline, None without one."""
        reason = self._reason(left_ms)
        if reason is not None:
            return Stop(reason=reason)
        if self.wait_ms is not None:
            return Wait(ms=self.wait_ms)
        option = self.options[self.at]
        if option.context_window <= self.window:
            told = f"its context window is no larger than {self.window} tokens"
            return Skip(expert_id=option.expert_id, error=ErrorClass.CONTEXT_OVERFLOW, detail=told)
        whole = left_ms is None or left_ms >= self.attempt_timeout_ms
        timeout_ms = self.attempt_timeout_ms if left_ms is None or whole else left_ms
        return Call(expert_id=option.expert_id, timeout_ms=timeout_ms, whole=whole)

    def after(
        self,
        error: ErrorClass,
        *,
        called: bool = True,
        retry_after_ms: float | None = None,
        left_ms: float | None = None,
    ) -> Trail:
        """The trail after the expert in turn failed or was passed over (not `called`).

        `retry_after_ms` is what the provider asked for, or when it has room again.
        """
        trail = replace(self, calls=self.calls + called)
        then = REACTIONS[error].then
        if then is Then.RETRY and not self.retried and self._worth_waiting(retry_after_ms, left_ms):
            return replace(trail, wait_ms=retry_after_ms, retried=True)
        if then is Then.NEXT_ONCE and self.rejected:
            return replace(trail, stopped=StopReason.REJECTED)
        if then is Then.LATER:
            return trail._later(retry_after_ms, left_ms)
        window = self.options[self.at].context_window if then is Then.LARGER else 0
        return replace(
            trail,
            at=self.at + 1,
            retried=False,
            rejected=self.rejected or then is Then.NEXT_ONCE,
            unserved=self.unserved | ({error} & _UNSERVED.keys()),
            window=max(self.window, window),
        )

    def waited(self, ms: float | None = None) -> Trail:
        """The trail after so much of a Wait, None for all of it: when it is over, the same expert is in turn again."""
        left_ms = 0.0 if ms is None or self.wait_ms is None else self.wait_ms - ms
        return replace(self, wait_ms=left_ms if left_ms > 0.0 else None)

    def ended(self, reason: StopReason) -> Trail:
        """The trail when the caller can take no other expert's answer any more."""
        return replace(self, stopped=reason, wait_ms=None)

    def _later(self, room_ms: float | None, left_ms: float | None) -> Trail:
        """The expert in turn has no room: behind the others once, then it waits as long as that is worth it."""
        option = self.options[self.at]
        if not option.again:
            return replace(self, options=(*self.options, replace(option, again=True)), at=self.at + 1, retried=False)
        wait_ms = max(LEAST_WAIT_MS, room_ms or 0.0)
        queued_ms = self.queued_ms + wait_ms
        if queued_ms <= self.max_queue_ms and (left_ms is None or wait_ms < left_ms):
            return replace(self, wait_ms=wait_ms, queued_ms=queued_ms)
        return replace(self, at=self.at + 1, unserved=self.unserved | {ErrorClass.NO_ROOM})

    def _reason(self, left_ms: float | None) -> StopReason | None:
        if self.stopped is not None:
            return self.stopped
        if self.at >= len(self.options):
            return next((why for error, why in _UNSERVED.items() if error in self.unserved), StopReason.EXHAUSTED)
        if self.calls >= self.max_attempts:
            return StopReason.ATTEMPTS
        return StopReason.DEADLINE if left_ms is not None and left_ms <= 0 else None

    def _worth_waiting(self, retry_after_ms: float | None, left_ms: float | None) -> bool:
        if retry_after_ms is None or retry_after_ms > self.max_wait_ms:
            return False
        return left_ms is None or retry_after_ms < left_ms
