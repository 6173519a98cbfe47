"""Who may use which experts: the rules of a policy, and what they demand of one decision.

Everything is allowed that no rule forbids, and one rule that forbids outweighs whatever else there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from crew_moe.domain.expert import Expert, Tier
from crew_moe.domain.task import Risk, TaskType

ANYWHERE: Final = "*"
"""The region of machines of one's own: they stand wherever they are wanted."""


class Demands(NamedTuple):
    """What access rules, screening and the gate demand of one decision beyond what its request asks for.

    `forbidden` holds (expert id, name of the rule). A tuple around a frozen set, because it is looked up for every
    decision, and a frozen set remembers its hash.
    """

    forbidden: frozenset[tuple[str, str]] = frozenset()
    moderated: bool = False
    local_only: bool = False
    max_tier: Tier | None = None

    def joined(self, other: Demands) -> Demands:
        """Both at once: what either forbids or demands, and the lower ceiling."""
        ceilings = [tier for tier in (self.max_tier, other.max_tier) if tier is not None]
        return Demands(
            self.forbidden | other.forbidden,
            self.moderated or other.moderated,
            self.local_only or other.local_only,
            min(ceilings, key=lambda tier: tier.rank, default=None),
        )

    @property
    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the rules that forbid each expert that is forbidden."""
        return _by_expert(self.forbidden)

    def rules_against(self, expert_id: str) -> tuple[str, ...]:
        """Names of the rules that forbid this expert."""
        return self.rules.get(expert_id, ())


NO_DEMANDS: Final = Demands()


@lru_cache(maxsize=256)
def _by_expert(forbidden: frozenset[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    """Kept, because every record of a decision tells it, and one set serves many decisions."""
    pairs = sorted(forbidden)
    return {expert_id: tuple(rule for _, rule in several) for expert_id, several in groupby(pairs, itemgetter(0))}


class Asked(NamedTuple):
    """What rules may look at, of who asks and of what for. None is unknown, or nothing that a rule looks at."""

    tenant: str | None
    roles: frozenset[str]
    channel: str | None
    workspace: str | None
    user: str | None
    risk: Risk | None
    residency: str | None
    task_type: TaskType | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Conditions on who asks: each that is set must hold, by any one of its names, letter by letter."""

    tenants: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    workspaces: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()

    def matches(self, asked: Asked) -> bool:
        return (
            (not self.tenants or asked.tenant in self.tenants)
            and (not self.roles or not self.roles.isdisjoint(asked.roles))
            and (not self.channels or asked.channel in self.channels)
            and (not self.workspaces or asked.workspace in self.workspaces)
            and (not self.users or asked.user in self.users)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Conditions on what is asked for: each that is set must hold, by any one of its words."""

    risks: frozenset[Risk] = frozenset()
    residencies: frozenset[str] = frozenset()
    task_types: frozenset[TaskType] = frozenset()

    def matches(self, asked: Asked) -> bool:
        return (
            (not self.risks or asked.risk in self.risks)
            and (not self.residencies or asked.residency in self.residencies)
            and (not self.task_types or asked.task_type in self.task_types)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Conditions on an expert: each that is set must hold, by any one of its words.

    A region is one that the expert may serve from.
    """

    ids: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    tiers: frozenset[Tier] = frozenset()
    regions: frozenset[str] = frozenset()
    self_hosted: bool | None = None
    moderated: bool | None = None

    def matches(self, expert: Expert) -> bool:
        return (
            (not self.ids or expert.expert_id in self.ids)
            and (not self.providers or expert.provider in self.providers)
            and (not self.tiers or expert.tier in self.tiers)
            and (not self.regions or not self.regions.isdisjoint(expert.regions))
            and self.self_hosted in (None, expert.is_local)
            and self.moderated in (None, expert.moderated)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """Whoever matches `who` may, under `when`, not use the experts of `forbid`, or none but those of `only`.

    One of the two is set. `unless` lists who is exempt: anybody whom one of its entries matches.
    """

    name: str
    who: Who
    when: When
    unless: tuple[Who, ...]
    forbid: Which | None
    only: Which | None

    def applies(self, asked: Asked) -> bool:
        return (
            self.who.matches(asked)
            and self.when.matches(asked)
            and not any(exempt.matches(asked) for exempt in self.unless)
        )

    def forbids(self, expert: Expert) -> bool:
        """Whether the expert is barred where the rule applies."""
        if self.only is None:
            return self.forbid is not None and self.forbid.matches(expert)
        regions = self.only.regions and self.only.regions | {ANYWHERE}
        return not replace(self.only, regions=regions).matches(expert)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyText:
    """One file of Cedar policies, as it is written; `name` is its path below the folder of policies."""

    name: str
    file: str
    text: str
