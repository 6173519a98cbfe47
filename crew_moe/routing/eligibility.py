"""Hard constraints: who may serve at all. One row a constraint, in the order safety > budget > quality > latency.

Constraints that hold for every request of the same needs are worked out once per lane; the context window and the
budget depend on the size of each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np

from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.policy import Policy
from crew_moe.domain.snapshot import Snapshot
from crew_moe.routing.columns import Bools, Columns, Floats
from crew_moe.routing.experience import Experience
from crew_moe.routing.needs import Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What constraints and points may look at. `closed_circuit` and `callable_here` are masks over the experts, `busy`
    tells until when an expert's provider has no room.
    """

    columns: Columns
    needs: Needs
    policy: Policy
    experience: Experience
    provider_share: Floats
    closed_circuit: Bools
    callable_here: Bools
    live: bool
    busy: Mapping[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A hard rule. `allows` gives a mask over the experts, `missed_by` how much each lacks in the rule's own unit.

    `needed` is the amount asked for, None where the rule knows no degrees; `detail` says it for one expert.
    """

    name: str
    allows: Callable[[Scene], Bools]
    detail: Callable[[Scene, int], str]
    needed: Callable[[Scene], float | None] = lambda _: None
    missed_by: Callable[[Scene], Floats] | None = None


def _everyone(scene: Scene) -> Bools:
    return scene.columns.everyone


def closed_circuits(columns: Columns, snapshot: Snapshot) -> Bools:
    """Whose breaker and provider's breaker let calls pass: none does before its `until`."""
    now = snapshot.taken_at
    away = {key for key, breaker in snapshot.breakers.items() if breaker.until is not None and breaker.until > now}
    if not away:
        return columns.everyone
    pairs = zip(columns.ids, columns.providers, strict=True)
    return np.array([f"expert:{e}" not in away and f"provider:{p}" not in away for e, p in pairs], dtype=np.bool_)


def has_room(scene: Scene) -> Bools:
    """Whose provider has room for another call."""
    return ~scene.columns.only(*scene.busy) if scene.busy else _everyone(scene)


def _named(scene: Scene) -> Bools:
    needs = scene.needs
    return ~scene.columns.named_only | _first_choice(scene) | scene.columns.only(*needs.named)


def _first_choice(scene: Scene) -> Bools:
    """Those whom the request names for itself, not as a fallback."""
    needs = scene.needs
    profile = scene.policy.profiles.get(needs.profile) if needs.profile else None
    chosen = scene.columns.only(*((needs.pin,) if needs.pin else ()), *((profile.expert_id,) if profile else ()))
    wanted_local = needs.local_only or "local" in needs.preferred_providers
    return chosen | (scene.columns.local & wanted_local)


def standing_by(scene: Scene) -> Bools:
    """Those who are eligible only because they are named as a fallback: they serve when nobody else can."""
    needs = scene.needs
    named = scene.columns.only(*needs.named) & ~_first_choice(scene)
    return named if needs.pin or needs.profile else named & scene.columns.named_only


def _pin(scene: Scene) -> Bools:
    needs = scene.needs
    return _everyone(scene) if needs.pin is None else scene.columns.only(needs.pin, *needs.named)


def _access(scene: Scene) -> Bools:
    forbidden = scene.needs.demands.rules
    return ~scene.columns.only(*forbidden) if forbidden else _everyone(scene)


def _tenant(scene: Scene) -> Bools:
    columns, owner = scene.columns, scene.needs.owner
    return columns.shared if owner is None else columns.shared | columns.owned[owner]


def _profile(scene: Scene) -> Bools:
    if scene.needs.profile is None:
        return _everyone(scene)
    return scene.columns.only(scene.policy.profiles[scene.needs.profile].expert_id, *scene.needs.named)


def _residency(scene: Scene) -> Bools:
    region = scene.needs.residency
    if region is None:
        return _everyone(scene)
    return np.array([region in regions or "*" in regions for regions in scene.columns.regions], dtype=np.bool_)


def _tier(scene: Scene) -> Bools:
    low = 0 if scene.needs.tier is None else scene.needs.tier
    high = Tier.PREMIUM.rank if scene.needs.max_tier is None else scene.needs.max_tier
    return (scene.columns.tier >= low) & (scene.columns.tier <= high)


def _quality(scene: Scene) -> Bools:
    floor = scene.needs.min_quality
    return _everyone(scene) if floor is None else scene.columns.quality >= floor


def _latency(scene: Scene) -> Bools:
    limit = scene.needs.max_latency_ms
    return _everyone(scene) if limit is None else scene.columns.latency_ms <= limit


def _missing_capabilities(scene: Scene, index: int) -> str:
    lacking = scene.needs.capabilities & ~int(scene.columns.capabilities[index])
    return "lacks " + ", ".join(capability for capability in Capability if lacking & capability.bit)


def _tier_names(scene: Scene) -> str:
    tiers = list(Tier)
    low = 0 if scene.needs.tier is None else scene.needs.tier
    high = Tier.PREMIUM.rank if scene.needs.max_tier is None else scene.needs.max_tier
    return tiers[low] if low == high else f"{tiers[low]} to {tiers[high]}"


def _tier_detail(scene: Scene, index: int) -> str:
    tier, ceiling = list(Tier)[int(scene.columns.tier[index])], scene.needs.demands.max_tier
    if ceiling is not None and tier.rank > ceiling.rank:
        return f"is {tier}, and {ceiling} is the highest that this call may use"
    return f"is {tier}, asked for {_tier_names(scene)}"


def _rules_against(scene: Scene, index: int) -> str:
    rules = scene.needs.demands.rules_against(scene.columns.ids[index])
    return "forbidden by " + " and ".join(f"'{rule}'" for rule in rules)


def _why_moderated(scene: Scene, _: int) -> str:
    return f"{'this text' if scene.needs.demands.moderated else 'high risk'} needs a moderated expert"


NO_ROOM: Final = "no_room"
TENANT: Final = "tenant"

STATIC: Final[tuple[Constraint, ...]] = (
    Constraint(
        name="enabled", allows=lambda scene: scene.columns.enabled, detail=lambda *_: "switched off in the catalogue"
    ),
    Constraint(
        name="retired",
        allows=lambda scene: ~scene.columns.retired if scene.live else _everyone(scene),
        detail=lambda *_: "the provider has retired this model",
    ),
    Constraint(
        name="no_credentials", allows=lambda scene: scene.callable_here, detail=lambda *_: "its API key is not set"
    ),
    Constraint(name="named_only", allows=_named, detail=lambda *_: "serves only where it is named"),
    Constraint(name="pin", allows=_pin, detail=lambda scene, _: f"the request is pinned to {scene.needs.pin}"),
    Constraint(
        name="profile", allows=_profile, detail=lambda scene, _: f"profile {scene.needs.profile} names another expert"
    ),
    Constraint(name=TENANT, allows=_tenant, detail=lambda *_: "serves another tenant alone"),
    Constraint(
        name="protocol",
        allows=lambda scene: scene.columns.chat,
        detail=lambda *_: "takes requests of its type, and no chats",
    ),
    Constraint(name="access", allows=_access, detail=_rules_against),
    Constraint(
        name="residency",
        allows=_residency,
        detail=lambda scene, index: (
            f"serves from {', '.join(sorted(scene.columns.regions[index])) or 'nowhere'}, not {scene.needs.residency}"
        ),
    ),
    Constraint(
        name="local_only",
        allows=lambda scene: scene.columns.local if scene.needs.local_only else _everyone(scene),
        detail=lambda *_: "the text may not leave machines of your own",
    ),
    Constraint(
        name="moderation",
        allows=lambda scene: scene.columns.moderated if scene.needs.moderated else _everyone(scene),
        detail=_why_moderated,
    ),
    Constraint(
        name="capability",
        allows=lambda scene: (scene.columns.capabilities & scene.needs.capabilities) == scene.needs.capabilities,
        detail=_missing_capabilities,
    ),
    Constraint(name="tier", allows=_tier, detail=_tier_detail),
    Constraint(
        name="min_quality",
        allows=_quality,
        detail=lambda scene, index: f"quality {scene.columns.quality[index]:g} < {scene.needs.min_quality:g}",
        needed=lambda scene: scene.needs.min_quality,
        missed_by=lambda scene: (scene.needs.min_quality or 0.0) - scene.columns.quality,
    ),
    Constraint(
        name="max_latency_ms",
        allows=_latency,
        detail=lambda scene, index: (
            f"median latency {scene.columns.latency_ms[index]:g} ms > {scene.needs.max_latency_ms:g} ms"
        ),
        needed=lambda scene: scene.needs.max_latency_ms,
        missed_by=lambda scene: scene.columns.latency_ms - (scene.needs.max_latency_ms or 0.0),
    ),
    Constraint(
        name="circuit_open",
        allows=lambda scene: scene.closed_circuit,
        detail=lambda *_: "its circuit breaker is open",
    ),
    Constraint(
        name=NO_ROOM,
        allows=has_room,
        detail=lambda scene, index: (
            f"its provider has no room for more calls until {scene.busy[scene.columns.ids[index]]:%H:%M:%S} UTC"
        ),
    ),
)

# Those that hold as long as catalogue, policy and pins do; breakers and room come and go.
LASTING: Final = tuple(constraint for constraint in STATIC if constraint.name not in ("circuit_open", NO_ROOM))

CONTEXT: Final = "context_window"
BUDGET: Final = "budget_usd"
PRECEDENCE: Final = (
    TENANT,
    "enabled",
    "retired",
    "no_credentials",
    "named_only",
    "pin",
    "profile",
    "protocol",
    "access",
    "residency",
    "local_only",
    "moderation",
    BUDGET,
    "capability",
    CONTEXT,
    "tier",
    "min_quality",
    "max_latency_ms",
    "circuit_open",
    NO_ROOM,
)

# How far a miss without degrees lies from fitting, beside the relative shortfall of one that has them: what a moment
# or another tier would mend is nearer than what the catalogue or safety rules out. Where one expert was named, what
# keeps that one out is the reason, whoever else there is.
RULED_OUT: Final = 100.0
NOT_NAMED: Final = 10_000.0
DISTANCE: Final = {
    NO_ROOM: 1.0,
    "circuit_open": 2.0,
    "tier": 3.0,
    "capability": 5.0,
    "pin": NOT_NAMED,
    "profile": NOT_NAMED,
}


class Miss(NamedTuple):
    """One rule that one expert fails; `missed_by` in the rule's unit, `distance` comparable between rules."""

    rule: str
    detail: str
    missed_by: float | None
    distance: float


def static_misses(scene: Scene) -> tuple[tuple[int, Miss], ...]:
    """Every miss that does not depend on sizes, with the registry position of who misses."""
    return tuple(_static_misses(scene))


def _static_misses(scene: Scene) -> Iterator[tuple[int, Miss]]:
    for constraint in STATIC:
        for index, allowed in enumerate(constraint.allows(scene).tolist()):
            if not allowed:
                yield index, _static_miss(constraint, scene, index)


def _static_miss(constraint: Constraint, scene: Scene, index: int) -> Miss:
    detail = constraint.detail(scene, index)
    needed = constraint.needed(scene)
    if constraint.missed_by is None or not needed:
        return Miss(constraint.name, detail, None, DISTANCE.get(constraint.name, RULED_OUT))
    missed_by = float(constraint.missed_by(scene)[index])
    return Miss(constraint.name, detail, missed_by, missed_by / needed)
