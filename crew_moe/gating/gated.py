"""The gate before any Python function: a decorator, and the errors by which a verdict leaves a call.

GateRefused         the gate did not let a call pass; carries the verdict
 +- GateDenied
 +- GateHeld        ... until somebody approves; `verdict.approval_id` says what to wait for
 +- GateDowngraded  ... but an expert of `verdict.tier` or below may try
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Final, ParamSpec, TypeVar, cast

from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.errors import CrewMoEError, InvalidInput
from crew_moe.gating.gatekeeper import Admission, Gatekeeper

P = ParamSpec("P")
T = TypeVar("T")


class GateRefused(CrewMoEError):
    """The gate did not let a call pass. `verdict` says why; `context` is what it was asked about."""

    def __init__(self, verdict: Verdict, context: GateContext) -> None:
        self.verdict = verdict
        self.context = context
        super().__init__(f"{context.expert_id}: {said(verdict)}")


class GateDenied(GateRefused):
    """No; `verdict.retry_after_s` says when to try again, if that would help."""


class GateHeld(GateRefused):
    """Not before somebody approves."""


class GateDowngraded(GateRefused):
    """Not with this expert, but with one of a lower tier."""


_ERRORS: Final = {Ruling.DENY: GateDenied, Ruling.HOLD: GateHeld, Ruling.DOWNGRADE: GateDowngraded}


def gated(
    gatekeeper: Gatekeeper, *, context: Callable[P, GateContext], wait_s: float = 0.0
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Run the function only if the gate lets it pass; `context` makes what the gate is asked of the same arguments.

    For plain and async functions. A held call waits `wait_s` for its answer and then goes on as the gate's policy says;
    without a wait it is refused at once. Raises GateDenied, GateHeld and GateDowngraded, and InvalidInput for a
    generator, whose work would begin behind the gate.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise InvalidInput("a generator can't be gated: its work begins when it is read", where=function.__name__)
        if iscoroutinefunction(function):
            return cast(Callable[P, T], _gated_async(function, gatekeeper, context, wait_s))
        return _gated(function, gatekeeper, context, wait_s)

    return decorate


def admitted(admission: Admission) -> Admission:
    """The admission, if the call may pass; raises GateDenied, GateHeld or GateDowngraded."""
    if admission.allowed:
        return admission
    raise _ERRORS[admission.verdict.ruling](admission.verdict, admission.context)


def said(verdict: Verdict) -> str:
    """A verdict that is no plain yes, in words."""
    reason = f" ({verdict.check}: {verdict.reason})" if verdict.check else ""
    match verdict.ruling:
        case Ruling.DOWNGRADE if verdict.tier is not None:
            return f"goes on with a {verdict.tier} expert{reason}"
        case Ruling.HOLD:
            return f"waits for approval {verdict.approval_id}{reason}"
        case _:
            later = "" if verdict.retry_after_s is None else f", again in {verdict.retry_after_s:g} s"
            return f"{'allowed' if verdict.allowed else 'denied'}{later}{reason}"


def _gated(
    function: Callable[P, T], gatekeeper: Gatekeeper, context: Callable[P, GateContext], wait_s: float
) -> Callable[P, T]:
    @wraps(function)
    def around(*args: P.args, **kwargs: P.kwargs) -> T:
        asked = context(*args, **kwargs)
        admission = admitted(_admission(gatekeeper, asked, wait_s))
        try:
            return function(*args, **kwargs)
        finally:
            gatekeeper.leave(admission, made=True)

    return around


def _gated_async(
    function: Callable[P, Coroutine[Any, Any, T]],
    gatekeeper: Gatekeeper,
    context: Callable[P, GateContext],
    wait_s: float,
) -> Callable[P, Coroutine[Any, Any, T]]:
    @wraps(function)
    async def around(*args: P.args, **kwargs: P.kwargs) -> T:
        asked = context(*args, **kwargs)
        if wait_s > 0:
            until = gatekeeper.clock.now() + timedelta(seconds=wait_s)
            admission = admitted(await gatekeeper.aadmit_within(asked, until=until))
        else:
            admission = admitted(await gatekeeper.aadmit_at_once(asked))
        try:
            return await function(*args, **kwargs)
        finally:
            gatekeeper.leave(admission, made=True)

    return around


def _admission(gatekeeper: Gatekeeper, context: GateContext, wait_s: float) -> Admission:
    """Admitted and redeemed; without a wait a held call stays held."""
    if wait_s > 0:
        return gatekeeper.admit_within(context, until=gatekeeper.clock.now() + timedelta(seconds=wait_s))
    return gatekeeper.admit_at_once(context)
