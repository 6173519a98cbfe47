"""What to do next, after what has happened: the executor's decisions as a pure state machine.

A `Trail` is one call of a model on its way through its experts, chosen first, fallbacks behind. `step` says what to do
now; `after` (with what became of it) and `waited` give the trail that follows. Every expert is left for good but for
one wait for a `Retry-After`, so a trail ends within three steps per expert.

    Call(expert)   ask the breakers, then the expert; tell `after`
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
OVER_BUDGET: Final = "budget"
"""The detail of a row whose expert was passed over because the money put aside did not cover it."""


class Then(StrEnum):
    """How a trail goes on after a failure."""

    NEXT = "next"
    NEXT_ONCE = "next_once"  # a second expert that says the same is right
    RETRY = "retry"  # after the wait that was asked for, when it is short; else next
    LARGER = "larger"  # only experts with a larger context window


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
    ErrorClass.SKIPPED: Reaction(Then.NEXT),
}


class StopReason(StrEnum):
    """Why a trail ends without an answer."""

    EXHAUSTED = "no expert is left"
    BUDGET = "no expert is left within the budget"
    ATTEMPTS = "the cap on attempts is reached"
    DEADLINE = "the deadline has passed"
    REJECTED = "two experts found the request wrong"
    PARTIAL = "the stream broke after its first words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An expert on the trail: its window in tokens, and the least that must be put aside for a call, in nano-USD."""

    expert_id: str
    context_window: int
    floor_nano: int = 0


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

    `at` is the expert in turn, `calls` counts the calls made, `spent_nano` what they cost or may have cost. Only an
    expert whose window is larger than `window` may still serve; `wait_ms` is set while a retry is due; `short` tells
    that somebody was passed over for want of money.
    """

    options: tuple[Option, ...]
    max_attempts: int
    attempt_timeout_ms: float
    max_wait_ms: float
    budget_nano: int | None = None
    at: int = 0
    calls: int = 0
    spent_nano: int = 0
    window: int = 0
    wait_ms: float | None = None
    retried: bool = False
    rejected: bool = False
    short: bool = False
    stopped: StopReason | None = None

    @property
    def left_nano(self) -> int | None:
        """What the calls to come may cost; None: no budget."""
        return None if self.budget_nano is None else self.budget_nano - self.spent_nano

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
        if self._short(option):
            return Skip(expert_id=option.expert_id, error=ErrorClass.SKIPPED, detail=OVER_BUDGET)
        whole = left_ms is None or left_ms >= self.attempt_timeout_ms
        timeout_ms = self.attempt_timeout_ms if left_ms is None or whole else left_ms
        return Call(expert_id=option.expert_id, timeout_ms=timeout_ms, whole=whole)

    def after(
        self,
        error: ErrorClass,
        *,
        called: bool = True,
        cost_nano: int = 0,
        retry_after_ms: float | None = None,
        left_ms: float | None = None,
    ) -> Trail:
        """The trail after the expert in turn failed or was passed over (not `called`)."""
        trail = replace(self, calls=self.calls + called, spent_nano=self.spent_nano + cost_nano)
        then = REACTIONS[error].then
        if then is Then.RETRY and not self.retried and self._worth_waiting(retry_after_ms, left_ms):
            return replace(trail, wait_ms=retry_after_ms, retried=True)
        if then is Then.NEXT_ONCE and self.rejected:
            return replace(trail, stopped=StopReason.REJECTED)
        window = self.options[self.at].context_window if then is Then.LARGER else 0
        return replace(
            trail,
            at=self.at + 1,
            retried=False,
            rejected=self.rejected or then is Then.NEXT_ONCE,
            short=self.short or (error is ErrorClass.SKIPPED and not called),
            window=max(self.window, window),
        )

    def waited(self) -> Trail:
        """The trail after a Wait: the same expert is in turn again."""
        return replace(self, wait_ms=None)

    def ended(self, reason: StopReason) -> Trail:
        """The trail when the caller can take no other expert's answer any more."""
        return replace(self, stopped=reason, wait_ms=None)

    def _reason(self, left_ms: float | None) -> StopReason | None:
        if self.stopped is not None:
            return self.stopped
        if self.at >= len(self.options):
            return StopReason.BUDGET if self.short else StopReason.EXHAUSTED
        if self.calls >= self.max_attempts:
            return StopReason.ATTEMPTS
        return StopReason.DEADLINE if left_ms is not None and left_ms <= 0 else None

    def _short(self, option: Option) -> bool:
        return self.left_nano is not None and option.floor_nano > self.left_nano

    def _worth_waiting(self, retry_after_ms: float | None, left_ms: float | None) -> bool:
        if retry_after_ms is None or retry_after_ms > self.max_wait_ms:
            return False
        return left_ms is None or retry_after_ms < left_ms
