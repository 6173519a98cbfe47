"""What a request demands of an expert, whatever its size: the part of a decision that repeats.

Crews ask the same kind of question again and again, so the answer to "who may serve this at all, and with how many
points" is worked out once per set of needs and snapshot (a Lane) and looked up afterwards.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.features import Features
from crew_moe.domain.money import NANO
from crew_moe.domain.policy import Policy, Profile
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.snapshot import Pin
from crew_moe.domain.task import Modality, TaskPreference, TaskType
from crew_moe.errors import InvalidRequest
from crew_moe.routing.features import extract

NON_LATIN_NEEDS = Capability.MULTILINGUAL.bit


class Needs(NamedTuple):
    """Hashable demands. `capabilities` is a bit set, `tier`/`max_tier` are ranks, the rest as in the request.

    What `demands` asks for beyond the request is worked into the other fields; it says whose rule it was. `owner` is
    the request's tenant where some experts serve it alone.
    """

    task_type: TaskType
    capabilities: int
    min_quality: float | None
    max_latency_ms: float | None
    tier: int | None
    max_tier: int | None
    residency: str | None
    local_only: bool
    moderated: bool
    preferred_providers: tuple[str, ...]
    pin: str | None
    named: tuple[str, ...]
    profile: str | None
    tight_budget: bool
    demands: Demands = NO_DEMANDS
    owner: str | None = None


Asked = tuple[Any, ...]

ASKED_FIELDS: Final = (
    "requires",
    "min_quality",
    "max_latency_ms",
    "tier",
    "max_tier",
    "preferred_providers",
    "residency",
    "pii",
    "profile",
    "pin",
    "fallbacks",
    "task",
    "tenant",
    "strategy",
)
"""What decides the needs of a request beside its text and its sizes."""
ASKED: Final = itemgetter(*ASKED_FIELDS)

Likeness = tuple[Any, ...]


class Terms(NamedTuple):
    """The sizes of one request: tokens in and out, and the money that it may cost (nano-USD; None: no limit).

    Predicted costs are floats, so the budget that they are held against is one too; money that is spent is counted in
    whole nano-USD elsewhere.
    """

    input_tokens: float
    output_tokens: float
    budget_nano: float | None


def needs_of(
    request: RoutingRequest,
    features: Features,
    policy: Policy,
    pins: tuple[Pin, ...],
    now: datetime,
    demands: Demands = NO_DEMANDS,
    owners: Container[str] = (),
) -> Needs:
    """Demands of a request under a policy, a profile, the manual pins in force, and what others demand of it.

    `owners` are the tenants that some experts serve alone.
    """
    profile = profile_of(request, policy)
    latency = request.max_latency_ms
    if profile is not None and profile.max_latency_ms is not None:
        latency = profile.max_latency_ms if latency is None else min(latency, profile.max_latency_ms)
    pin = request.pin
    if pin is None and pins:
        pin = _pinned(request, features, pins, now)
    tier, max_tier = _tiers(request, demands)
    local_only = request.pii == "local_only" or demands.local_only
    return Needs(
        features.task_type,
        _capabilities(request, features, policy),
        request.min_quality,
        latency,
        tier,
        max_tier,
        request.residency,
        local_only,
        not local_only and (demands.moderated or _is_sensitive(features, policy)),
        request.preferred_providers,
        pin,
        request.fallbacks or (),
        request.profile,
        is_tight(request, policy),
        demands,
        request.tenant if request.tenant in owners else None,
    )


def likeness_of(request: RoutingRequest, features: Features, policy: Policy, demands: Demands = NO_DEMANDS) -> Likeness:
    """Key under which requests have the same needs: cheaper to make than the needs themselves. What was asked comes
    first in it.
    """
    return (
        ASKED(request.__dict__),
        features.task_type,
        features.risk,
        features.modality,
        features.script,
        features.input_tokens >= policy.thresholds.long_context_tokens,
        is_tight(request, policy),
        demands,
    )


def is_tight(request: RoutingRequest, policy: Policy) -> bool:
    """Whether money is so short that the task type's budget experts are the preferred ones."""
    budget = request.budget_usd
    return budget is not None and float(budget) <= policy.tight_budget_usd


def terms_of(request: RoutingRequest, features: Features, policy: Policy) -> Terms:
    """Predicted tokens of one call, and its budget (seed 001: token estimate x task multiplier, within bounds).

    Counts are floats here, as everything that they are multiplied with.
    """
    task = policy.tasks[features.task_type]
    input_tokens = features.input_tokens + policy.cost.overhead_tokens
    output_tokens = predicted_output(features.input_tokens, task)
    budget = request.budget_usd
    ceiling = request.max_output_tokens
    if request.profile is not None:
        profile = policy.profiles[request.profile]
        if profile.budget_usd is not None:
            budget = profile.budget_usd if budget is None else min(budget, profile.budget_usd)
        if profile.max_output_tokens is not None:
            ceiling = profile.max_output_tokens if ceiling is None else min(ceiling, profile.max_output_tokens)
    if ceiling is not None:
        output_tokens = min(output_tokens, ceiling)
    return Terms(float(input_tokens), float(output_tokens), None if budget is None else float(budget) * NANO)


def predicted_output(input_tokens: int, task: TaskPreference) -> int:
    """Output tokens that a task type usually takes for this input."""
    return min(max(int(input_tokens * task.output_multiplier), task.min_output_tokens), task.max_output_tokens)


def profile_of(request: RoutingRequest, policy: Policy) -> Profile | None:
    """The profile that the request names; raises InvalidRequest when the policy has none of that name."""
    if request.profile is None:
        return None
    profile = policy.profiles.get(request.profile)
    if profile is None:
        raise InvalidRequest(
            f"unknown profile '{request.profile}'",
            where="profile",
            value=request.profile,
            allowed=sorted(policy.profiles),
        )
    return profile


def _is_sensitive(features: Features, policy: Policy) -> bool:
    """Whether the risk class asks for a moderated expert."""
    return features.risk in policy.risks and policy.risks[features.risk].moderated


def _tiers(request: RoutingRequest, demands: Demands) -> tuple[int | None, int | None]:
    """Ranks of the tier wanted and of the highest allowed. A ceiling that others set lies over both."""
    wanted = None if request.tier is None else request.tier.rank
    highest = _ceiling(request.tier, request.max_tier)
    if demands.max_tier is None:
        return wanted, highest
    ceiling = demands.max_tier.rank
    if wanted is not None and wanted > ceiling:
        wanted = None  # it can't be had: whatever lies below may serve instead
    return wanted, ceiling if highest is None else min(highest, ceiling)


def _ceiling(tier: Tier | None, max_tier: Tier | None) -> int | None:
    """Highest tier rank allowed: the ceiling given, else the tier wanted; never below what is wanted."""
    if tier is None:
        return None if max_tier is None else max_tier.rank
    if max_tier is not None and max_tier.rank < tier.rank:
        raise InvalidRequest(
            f"the ceiling '{max_tier}' lies below the tier '{tier}'",
            where="max_tier",
            allowed=[word for word in Tier if word.rank >= tier.rank],
        )
    return tier.rank if max_tier is None else max_tier.rank


def _capabilities(request: RoutingRequest, features: Features, policy: Policy) -> int:
    bits = 0
    for capability in request.requires:
        bits |= capability.bit
    for capability in policy.tasks[features.task_type].requires:
        bits |= capability.bit
    if features.modality is Modality.IMAGE:
        bits |= Capability.VISION.bit
    if features.script != "Latn":
        bits |= NON_LATIN_NEEDS
    if features.input_tokens >= policy.thresholds.long_context_tokens:
        bits |= Capability.LONG_CONTEXT.bit
    return bits


def strategy_in_force(request: RoutingRequest, pins: tuple[Pin, ...], now: datetime) -> str | None:
    """The strategy that an override sets for a request that names none."""
    overrides = tuple(pin for pin in pins if pin.strategy is not None)
    if not overrides or request.strategy is not None:
        return None
    found = _narrowest(request, extract(request), overrides, now)
    return None if found is None else found.strategy


def _pinned(request: RoutingRequest, features: Features, pins: tuple[Pin, ...], now: datetime) -> str | None:
    found = _narrowest(request, features, tuple(pin for pin in pins if pin.strategy is None), now)
    return None if found is None else found.expert_id


def _narrowest(request: RoutingRequest, features: Features, pins: tuple[Pin, ...], now: datetime) -> Pin | None:
    """The narrowest pin that matches, the newest among equals."""
    matching = [pin for pin in pins if _matches(pin, request, features, now)]
    return max(matching, key=lambda pin: (_width(pin), pin.created_at), default=None)


def _matches(pin: Pin, request: RoutingRequest, features: Features, now: datetime) -> bool:
    return (
        (pin.expires_at is None or pin.expires_at > now)
        and pin.task_type in (None, features.task_type)
        and pin.task in (None, request.task)
        and pin.tenant in (None, request.tenant)
    )


def _width(pin: Pin) -> int:
    """How narrow a pin is: one named task outweighs a task type, which outweighs a tenant."""
    return 4 * (pin.task is not None) + 2 * (pin.task_type is not None) + (pin.tenant is not None)
