"""The checks that come with the package, in discord.py's manner: small functions that make one check each.

    >>> from crew_moe.gating.consequence import downgrade
    >>> from crew_moe.gating.gate import Gate
    >>> gate = Gate(
    ...     [
    ...         has_any_role("lead", "admin"),
    ...         quiet_hours("22:00", "06:00", tz="Europe/Berlin", otherwise=downgrade("baseline")),
    ...         cooldown(5, 60, Bucket.USER),
    ...         needs_approval("premium", roles=["admin"]),
    ...     ]
    ... )

All take `otherwise` (deny, hold or downgrade), `name`, `reason` and `for_all`. A yes to a hold is `lasting`, good for
the rest of the task, where the answer can't change with what is sent: for roles, places and quiet hours. What a check
has to know and does not counts as not passed. Raises InvalidInput for arguments that make no sense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from inspect import iscoroutinefunction
from typing import TypedDict, Unpack, overload

from crew_moe.domain.expert import Tier
from crew_moe.domain.meter import Demand
from crew_moe.domain.money import parse_usd
from crew_moe.domain.screening import THRESHOLD, Concern
from crew_moe.domain.verdict import GateContext
from crew_moe.errors import InvalidInput
from crew_moe.gating.arguments import (
    check_name,
    count,
    plain_names,
    positive,
    share,
    time_of_day,
    time_zone,
    word,
)
from crew_moe.gating.consequence import DENY, Otherwise, hold
from crew_moe.gating.cooldown import Bucket, calls_of, pace, place_of
from crew_moe.gating.gate import Check, Metered, Test
from crew_moe.gating.names import plain_name
from crew_moe.ports import Amount


class Options(TypedDict, total=False):
    """What every check takes beside its own arguments."""

    otherwise: Otherwise
    name: str
    reason: str
    for_all: bool


class CheckOptions(Options, total=False):
    """Those of a check that does not count."""

    lasting: bool


class Label(TypedDict, total=False):
    """The options of a check whose consequence is given."""

    name: str
    reason: str


@overload
def check(predicate: Test, **options: Unpack[CheckOptions]) -> Check: ...
@overload
def check(predicate: None = None, **options: Unpack[CheckOptions]) -> Callable[[Test], Check]: ...
def check(predicate: Test | None = None, **options: Unpack[CheckOptions]) -> Check | Callable[[Test], Check]:
    """A check of one's own, from a function of the context; a decorator too.

    >>> @check(otherwise=hold("lead"))
    ... def weekday(context: GateContext) -> bool:
    ...     return context.now.weekday() < 5
    >>> weekday.name
    'weekday'
    """
    if predicate is None:
        return partial(check, **options)
    if iscoroutinefunction(predicate) or not callable(predicate):
        raise InvalidInput("a check is a plain function of the context", where=getattr(predicate, "__name__", ""))
    return _made(predicate, getattr(predicate, "__name__", ""), "", options)


def has_any_role(*roles: str, **options: Unpack[CheckOptions]) -> Check:
    """Who asks has one of these roles; they are compared exactly as they are written."""
    wanted = plain_names(roles, "roles")
    reason = f"needs one of the roles {', '.join(sorted(wanted))}"
    return _made(lambda context: not wanted.isdisjoint(context.roles), "has_any_role", reason, options, lasting=True)


def has_role(role: str, **options: Unpack[CheckOptions]) -> Check:
    """Who asks has this role."""
    wanted = plain_name(role, where="role")
    return _made(lambda context: wanted in context.roles, "has_role", f"needs the role {wanted}", options, lasting=True)


def guild_only(**options: Unpack[CheckOptions]) -> Check:
    """The call comes from some workspace (a guild), not from a private conversation."""
    return _made(
        lambda context: bool(context.workspace), "guild_only", "only within a workspace", options, lasting=True
    )


def in_workspace(*workspaces: str | int, **options: Unpack[CheckOptions]) -> Check:
    """The call comes from one of these workspaces (guilds, in Discord's words), by id."""
    allowed = plain_names(workspaces, "workspaces")
    return _made(
        lambda context: context.workspace in allowed, "in_workspace", "not in this workspace", options, lasting=True
    )


def in_channel(*channels: str | int, **options: Unpack[CheckOptions]) -> Check:
    """The call comes from one of these channels, by id."""
    allowed = plain_names(channels, "channels")
    return _made(lambda context: context.channel in allowed, "in_channel", "not in this channel", options, lasting=True)


def cooldown(rate: float, per_s: float, bucket: Bucket | str = Bucket.USER, **options: Unpack[Options]) -> Metered:
    """At most `rate` calls within `per_s` seconds for all who share a bucket, over all who share the store."""
    calls, seconds, shared = positive(rate, "rate"), positive(per_s, "per_s"), word(bucket, Bucket, "bucket")
    at_rate = pace(calls, seconds)
    name = check_name(options.get("name", f"cooldown_{shared}_{seconds:.15g}s"))
    reason = f"all {calls:.15g} calls in {seconds:.15g} s of this {shared} are used"
    return _counting(name, partial(calls_of, name, shared, rate=at_rate), reason, options)


def max_concurrency(places: int, bucket: Bucket | str = Bucket.USER, **options: Unpack[Options]) -> Metered:
    """At most so many calls at once for all who share a bucket, over all who share the store."""
    most, shared = count(places, "places"), word(bucket, Bucket, "bucket")
    name = check_name(options.get("name", f"concurrency_{shared}"))
    reason = f"all {most} places of this {shared} are taken"
    return _counting(name, partial(place_of, name, shared, places=most), reason, options)


def quiet_hours(start: str | int, end: str | int, *, tz: str = "UTC", **options: Unpack[CheckOptions]) -> Check:
    """Not from `start` until before `end` (`HH:MM`, over midnight too) by the clocks of a time zone."""
    begins, ends, zone = time_of_day(start, "start"), time_of_day(end, "end"), time_zone(tz)
    if begins == ends:
        raise InvalidInput("quiet hours begin and end at the same time", where="end")
    over_midnight = ends < begins

    def awake(context: GateContext) -> bool:
        now = context.now.astimezone(zone).time()
        return ends <= now < begins if over_midnight else not begins <= now < ends

    reason = f"quiet hours from {begins:%H:%M} to {ends:%H:%M} ({tz})"
    return _made(awake, "quiet_hours", reason, options, lasting=True)


def budget_left(fraction: float, **options: Unpack[CheckOptions]) -> Check:
    """At least this share (0-1) of the tightest budget is left; without any budget it passes."""
    least = share(fraction, "fraction")
    reason = f"less than {least:.0%} of the budget is left"
    return _made(lambda context: context.left is None or context.left >= least, "budget_left", reason, options)


def screened(
    concern: Concern | str = Concern.INJECTION, below: float = THRESHOLD, **options: Unpack[CheckOptions]
) -> Check:
    """The text was screened for this concern and scored less than `below`; what was not screened does not pass."""
    looked_for, limit = word(concern, Concern, "concern"), share(below, "below")

    def passes(context: GateContext) -> bool:
        score = context.scores.get(looked_for)
        return score is not None and 0 <= score < limit

    return _made(passes, f"screened_{looked_for}", f"not screened, or suspicious: {looked_for}", options)


def max_cost(usd: Amount, **options: Unpack[CheckOptions]) -> Check:
    """The call costs no more than this, at its worst."""
    most = parse_usd(usd, where="usd")
    return _made(lambda context: context.max_cost_usd <= most, "max_cost", f"may cost more than ${most:f}", options)


def needs_approval(tier: Tier | str = Tier.PREMIUM, *, roles: Iterable[str] = (), **options: Unpack[Label]) -> Check:
    """A person (with one of `roles`, if any are named) approves of each call of an expert of this tier or above."""
    floor = word(tier, Tier, "tier")
    return Check(
        name=check_name(options.get("name", "needs_approval")),
        test=lambda context: context.tier.rank < floor.rank,
        reason=options.get("reason", f"a {floor} expert needs approval"),
        otherwise=hold(*sorted(plain_names(roles, "roles"))) if roles else hold(),
        for_all=True,  # it looks at the tier itself
        lasting=True,
    )


def _made(test: Test, name: str, reason: str, options: CheckOptions, *, lasting: bool = False) -> Check:
    return Check(
        name=check_name(options.get("name", name)),
        test=test,
        reason=options.get("reason", reason),
        otherwise=options.get("otherwise", DENY),
        for_all=options.get("for_all", False),
        lasting=options.get("lasting", lasting),
    )


def _counting(name: str, demand: Callable[[GateContext], Demand], reason: str, options: Options) -> Metered:
    return Metered(
        name=name,
        demand=demand,
        reason=options.get("reason", reason),
        otherwise=options.get("otherwise", DENY),
        for_all=options.get("for_all", False),
    )
