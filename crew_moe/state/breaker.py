"""Circuit breakers as values: what a signal does to one, and whether a call may pass.

After `policy.failures` failures in a row a breaker opens (an ejection, in Envoy's words); each further opening lasts
`backoff` times longer, up to a cap (seed 001). When an ejection ends the breaker is half-open and lends out a limited
number of probes: one success closes it, one failure opens it again.

`Breaker.until` means the same in every state: no call passes before it. While open that is the end of the ejection;
while half-open it is set only when the last probe is lent, and is the end of that loan. So a probe that never reports
(a killed process, a lost task) blocks nobody for longer than one base ejection: then all probes count as given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from crew_moe.domain.policy import BreakerPolicy
from crew_moe.domain.snapshot import Breaker, Circuit


class Signal(StrEnum):
    """What moves a breaker from one state to another."""

    TRIP = "trip"
    COOLDOWN_OVER = "cooldown_over"
    OK = "ok"


TRANSITIONS: Final[Mapping[tuple[Circuit, Signal], Circuit]] = {
    (Circuit.CLOSED, Signal.TRIP): Circuit.OPEN,
    (Circuit.OPEN, Signal.COOLDOWN_OVER): Circuit.HALF_OPEN,
    (Circuit.HALF_OPEN, Signal.OK): Circuit.CLOSED,
    (Circuit.HALF_OPEN, Signal.TRIP): Circuit.OPEN,
}
MAX_HINT_MS: Final = 86_400_000.0  # no Retry-After ejects for more than a day


def expert_key(expert_id: str) -> str:
    """The key of an expert's breaker."""
    return f"expert:{expert_id}"


def provider_key(name: str) -> str:
    """The key of a provider's breaker."""
    return f"provider:{name}"


def admits(breaker: Breaker, now: datetime) -> bool:
    """Whether a call would pass now; takes nothing."""
    return breaker.until is None or now >= breaker.until


def recovers_at(breaker: Breaker) -> datetime | None:
    """When the answer of `admits` turns to yes by time alone; None when no time is set."""
    return breaker.until


def admit(breaker: Breaker, policy: BreakerPolicy, now: datetime) -> tuple[Breaker, bool]:
    """Whether a call passes now, and the breaker after it: half-open, it has one probe fewer to lend."""
    if breaker.state is Circuit.CLOSED:
        return breaker, True
    if not admits(breaker, now):
        return breaker, False
    lapsed = breaker.until is not None  # the ejection, or the loan of every probe, is over
    probes = 1 if lapsed else breaker.probes + 1
    until = now + _ms(policy.ejection_ms) if probes >= policy.probes else None
    return replace(_cooled(breaker, now), probes=probes, until=until), True


def succeed(breaker: Breaker, now: datetime) -> Breaker:
    """A call went well: the row of failures ends, a half-open breaker closes.

    An open one stays open: the call began before the ejection and says nothing of what came after.
    """
    breaker = _cooled(breaker, now)
    untouched = breaker.state is Circuit.CLOSED and breaker.failures == 0
    if breaker.state is Circuit.OPEN or untouched:
        return breaker
    return Breaker(state=TRANSITIONS.get((breaker.state, Signal.OK), Circuit.CLOSED))


def fail(breaker: Breaker, policy: BreakerPolicy, now: datetime, *, eject_ms: float | None = None) -> Breaker:
    """A call failed. `eject_ms` (a Retry-After) opens at once for that long; the later end of two ejections wins."""
    breaker = _cooled(breaker, now)
    hint_ms = min(max(0.0, eject_ms or 0.0), MAX_HINT_MS)
    if breaker.state is Circuit.OPEN:
        return replace(breaker, until=_later(breaker.until, now + _ms(hint_ms)))
    failures = breaker.failures + 1
    tripped = breaker.state is Circuit.HALF_OPEN or failures >= policy.failures
    if not tripped and hint_ms == 0.0:
        return replace(breaker, failures=failures)
    ejection_ms = max(hint_ms, _ejection_ms(breaker, policy) if tripped else 0.0)
    return Breaker(
        state=TRANSITIONS[breaker.state, Signal.TRIP],
        failures=failures,
        ejections=breaker.ejections + 1,
        until=_later(breaker.until, now + _ms(ejection_ms)),
    )


def cancel(breaker: Breaker) -> Breaker:
    """A probe came back with no verdict (the caller gave up): it may be lent again."""
    if breaker.state is not Circuit.HALF_OPEN or breaker.probes == 0:
        return breaker
    return replace(breaker, probes=breaker.probes - 1, until=None)


def _cooled(breaker: Breaker, now: datetime) -> Breaker:
    """The breaker after the end of its ejection was noticed, should that be past."""
    if breaker.state is not Circuit.OPEN or not admits(breaker, now):
        return breaker
    return replace(breaker, state=TRANSITIONS[breaker.state, Signal.COOLDOWN_OVER], probes=0, until=None)


def _ejection_ms(breaker: Breaker, policy: BreakerPolicy) -> float:
    try:
        grown = policy.ejection_ms * policy.backoff**breaker.ejections
    except OverflowError:  # an outage of weeks has more openings in a row than a float has powers of two
        grown = policy.max_ejection_ms
    return float(min(grown, policy.max_ejection_ms))


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _ms(milliseconds: float) -> timedelta:
    return timedelta(milliseconds=milliseconds)
