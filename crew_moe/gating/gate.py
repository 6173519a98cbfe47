"""The verdict on one call before it is made: checks in order, of which the strictest answer holds.

Nothing here waits, counts or asks. What needs a store is only declared: a `Metered` check says what it would take, and
a hold who may lift it; gating.gatekeeper does both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from math import ceil, isfinite
from typing import Final

from crew_moe.domain.expert import Tier
from crew_moe.domain.meter import Busy, Demand
from crew_moe.domain.money import MAX_USD
from crew_moe.domain.screening import THRESHOLD
from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.errors import InvalidInput
from crew_moe.gating.consequence import ALLOWED, DENY, Otherwise, hold, lowered

Test = Callable[[GateContext], "Verdict | bool"]

GATE: Final = "gate"
_STRICTNESS: Final = {ruling: rank for rank, ruling in enumerate(Ruling)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question about a call. `test` says True (it may pass), False (`otherwise` holds, for `reason`) or a Verdict.

    It is asked about experts above the gate's tier, or about all where `for_all`. A person's yes to its hold is good
    for one call, or, where it is `lasting`, for all later calls of the same task to the same expert.
    """

    name: str
    test: Test
    reason: str = ""
    otherwise: Otherwise = DENY
    for_all: bool = False
    lasting: bool = False

    def __call__(self, context: GateContext) -> Verdict | bool:
        return self.test(context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """A check that counts: the call passes if all meters of its gate have room for what `demand` says."""

    name: str
    demand: Callable[[GateContext], Demand]
    reason: str = ""
    otherwise: Otherwise = DENY
    for_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """What one metered check takes for this call."""

    check: Metered
    demand: Demand

    @property
    def may_ask(self) -> bool:
        """Whether a person may let the call pass although there is no room."""
        return self.check.otherwise.ruling is Ruling.HOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the gate says of a call as far as it can be said without a store.

    `approvers` may lift a hold (none: everybody but who asks); `once_approved` is the verdict that is left then.
    `takes` is what an allowed call takes of meters.
    """

    verdict: Verdict
    approvers: tuple[str, ...] = ()
    once_approved: Verdict = ALLOWED
    takes: tuple[Take, ...] = ()


def _task_approval(context: GateContext) -> Verdict | bool:
    """Whether neither the task nor what screening found in its text asks for a person."""
    if context.approval is None or context.tier.rank < context.approval.rank:
        return True
    flagged = sorted(concern for concern, score in context.scores.items() if score >= THRESHOLD)
    if not flagged:
        return False
    return Verdict(ruling=Ruling.HOLD, reason=f"the text was flagged for {' and '.join(flagged)}")


TASK_APPROVAL: Final = Check(
    name="task_approval",
    test=_task_approval,
    reason="the task asks for approval of this expert",
    otherwise=hold(),
    for_all=True,
    lasting=True,
)
"""What a task's own `approval:` and the screening of its text ask for; every gate has it."""


class Gate:
    """Checks in order. Experts at or below the tier `above` pass, but for checks that are `for_all`.

    A check that raises or says anything else than a verdict or a bool denies. `approvers` may lift a hold that names
    no roles of its own. Raises InvalidInput when two checks that count have the same name, and so the same meter.

    >>> from crew_moe.gating.checks import has_any_role
    >>> gate = Gate([has_any_role("lead", "admin")], above=Tier.FAST)
    """

    def __init__(
        self, checks: Iterable[Check | Metered] = (), *, above: Tier = Tier.BASELINE, approvers: Iterable[str] = ()
    ) -> None:
        self.checks = (TASK_APPROVAL, *checks)
        self.above = above
        self.approvers = tuple(approvers)
        self._for_all = tuple(check for check in self.checks if check.for_all)
        _refuse_twins([check.name for check in self.checks if isinstance(check, Metered)])

    def judge(self, context: GateContext) -> Judgement:
        """The verdict on one call; pure. The first denial ends it."""
        doubt = _doubt(context)
        if doubt:
            return Judgement(verdict=Verdict(ruling=Ruling.DENY, check=GATE, reason=doubt))
        found: list[tuple[Check, Verdict]] = []
        takes: list[Take] = []
        for check in self.checks if context.tier.rank > self.above.rank else self._for_all:
            answer = _take(check, context) if isinstance(check, Metered) else _verdict(check, context)
            if isinstance(answer, Take):
                takes.append(answer)
            elif answer.ruling is Ruling.DENY:
                return Judgement(verdict=answer)
            elif isinstance(check, Check) and not _settled(check, answer, context):
                found.append((check, answer))
        return self._judgement(found, tuple(takes))

    def lifters(self, otherwise: Otherwise) -> tuple[str, ...]:
        """The roles that may lift a hold."""
        return otherwise.roles or self.approvers

    def _judgement(self, found: Sequence[tuple[Check, Verdict]], takes: tuple[Take, ...]) -> Judgement:
        holds = [(check, verdict) for check, verdict in found if verdict.ruling is Ruling.HOLD]
        strictest = max((verdict for _, verdict in found), key=_strictness, default=ALLOWED)
        if not holds:
            return Judgement(verdict=strictest, takes=takes)
        lifters = [set(roles) for check, _ in holds if (roles := self.lifters(check.otherwise))]
        common = set.intersection(*lifters) if lifters else set()
        if lifters and not common:
            names = " and ".join(check.name for check, _ in holds)
            reason = f"no role may lift what {names} hold together"
            return Judgement(verdict=Verdict(ruling=Ruling.DENY, check=strictest.check, reason=reason))
        lesser = [verdict for _, verdict in found if verdict.ruling is not Ruling.HOLD]
        return Judgement(
            verdict=strictest,
            approvers=tuple(sorted(common)),
            once_approved=max(lesser, key=_strictness, default=ALLOWED),
            takes=takes,
        )


def refusal(check: Check | Metered, context: GateContext, *, reason: str = "") -> Verdict:
    """What becomes of a call that `check` does not let pass. ALLOWED where it is downgraded to what it uses anyway."""
    otherwise = check.otherwise
    verdict = Verdict(
        ruling=otherwise.ruling, check=check.name, reason=reason or check.reason or f"{check.name} does not let it pass"
    )
    return lowered(verdict, otherwise.tier, context) if otherwise.ruling is Ruling.DOWNGRADE else verdict


def crowded(take: Take, found: Busy, context: GateContext, now: datetime) -> Verdict:
    """As `refusal`, for a meter without room; a denial says when there will be some, in whole seconds."""
    seconds = max(1, ceil((found.until - now).total_seconds()))
    verdict = refusal(take.check, context, reason=f"{take.check.reason}; again in {seconds} s")
    return replace(verdict, retry_after_s=float(seconds)) if verdict.ruling is Ruling.DENY else verdict


def _verdict(check: Check, context: GateContext) -> Verdict:
    try:
        said = check.test(context)
    except Exception as error:  # noqa: BLE001 - a check is foreign code: whatever it raises closes the gate
        return _broken(check, f"failed with {type(error).__name__}")
    if said is True:
        return ALLOWED
    if said is False:
        return refusal(check, context)
    if not isinstance(said, Verdict):
        return _broken(check, f"answered with {type(said).__name__}, neither a verdict nor a bool")
    return _tidied(said, check, context)


def _tidied(said: Verdict, check: Check, context: GateContext) -> Verdict:
    """A check's own verdict: only the desk gives out approvals, a wait is a number, a downgrade goes down."""
    wait = said.retry_after_s
    known = wait if wait is not None and isfinite(wait) and wait >= 0 else None
    verdict = replace(said, check=check.name, approval_id=None, retry_after_s=known)
    if verdict.ruling is Ruling.ALLOW:
        return ALLOWED
    return lowered(verdict, verdict.tier, context) if verdict.ruling is Ruling.DOWNGRADE else verdict


def _take(check: Metered, context: GateContext) -> Take | Verdict:
    try:
        demand = check.demand(context)
    except Exception as error:  # noqa: BLE001 - as in _verdict
        return _broken(check, f"failed with {type(error).__name__}")
    if not isinstance(demand, Demand):
        return _broken(check, f"asked for {type(demand).__name__}, which is no demand")
    return Take(check=check, demand=demand)


def _broken(check: Check | Metered, what: str) -> Verdict:
    # The error's own words stay out: they may hold what was asked.
    return Verdict(ruling=Ruling.DENY, check=check.name, reason=f"the check {check.name} {what}")


def _settled(check: Check, answer: Verdict, context: GateContext) -> bool:
    """Whether there is nothing to do about it: allowed, or held although a lasting yes was given."""
    granted = check.lasting and context.expert_id in context.granted
    return answer is ALLOWED or (granted and answer.ruling is Ruling.HOLD)


def _strictness(verdict: Verdict) -> tuple[int, int]:
    """Sorts the strictest last; of two downgrades the deeper one."""
    return _STRICTNESS[verdict.ruling], 0 if verdict.tier is None else -verdict.tier.rank


def _doubt(context: GateContext) -> str:
    """Why nothing can be said of this call; empty when it is in order."""
    cost: object = context.max_cost_usd
    if not isinstance(cost, Decimal) or not cost.is_finite() or not 0 <= cost <= MAX_USD:
        return "what the call may cost is no amount of US$"
    if not context.digest or not context.expert_id:
        return "the call has no digest or no expert"
    return "" if context.now.tzinfo is not None else "the time of the call has no time zone"


def _refuse_twins(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"two checks that count are called '{name}'; give one a name of its own", where="checks")
