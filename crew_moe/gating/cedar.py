"""Access policies in Cedar (extra `policy`; https://www.cedarpolicy.com), as files policies/*.cedar.

Names of tenants, users and the like reach Cedar as data, never as a part of a policy's text.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from crew_moe.catalog.locate import packaged_config
from crew_moe.documents import read_text
from crew_moe.domain.access import Asked, PolicyText, Who
from crew_moe.domain.expert import Expert
from crew_moe.domain.registry import Registry
from crew_moe.domain.task import Risk, TaskType
from crew_moe.errors import MissingExtra
from crew_moe.gating.cedar_text import CedarPolicy, checked, statements
from crew_moe.gating.rulebook import STRANGER, Mentions, Rulebook

SCHEMA: Final = "policies/schema.cedarschema"
NOTHING_PERMITS: Final = "no policy permits it"
_FAILED: Final = re.compile(r"policy `policy(\d+)`")


def cedar_rulebook(policies: Sequence[PolicyText], registry: Registry) -> Rulebook | None:
    """The policies, checked and ready to be asked; None where they do no more than permit everything.

    Raises ConfigError, which names file, line and policy, and MissingExtra where they need a Cedar that is absent.
    """
    found = [statement for policy in policies for statement in statements(policy)]
    if not policies or (found and all(statement.permits_all for statement in found)):
        return None
    cedar = _cedar()
    schema = cedar.Schema.from_str(read_text(packaged_config() / SCHEMA))
    good = checked(cedar, schema, found, registry)
    return Rulebook(_mentions(good, registry), _engine(cedar, schema, good, registry).forbids)


def _cedar() -> ModuleType:
    try:
        import cedarpy
    except ImportError as missing:
        raise MissingExtra("policy", "cedarpy") from missing
    return cedarpy


def _mentions(policies: Sequence[CedarPolicy], registry: Registry) -> Mentions:
    """What the policies name. A residency may also be compared with the regions of an expert, so those count."""
    looks = any(policy.reads_context for policy in policies)
    regions = frozenset(region for expert in registry for region in expert.regions)
    return Mentions(
        who=Who(
            tenants=_named(policies, "Tenant"),
            roles=_named(policies, "Role"),
            channels=_named(policies, "Channel"),
            workspaces=_named(policies, "Workspace"),
            users=_named(policies, "User"),
        ),
        residencies=_named(policies, "Region") | regions if looks else None,
        risk=looks,
        task_type=looks,
    )


def _named(policies: Sequence[CedarPolicy], kind: str) -> frozenset[str]:
    return frozenset[str]().union(*(policy.named.get(kind, ()) for policy in policies))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    """Cedar with everything parsed once. Experts that no policy can tell apart form a group; one is asked for all.

    `names` are the rules' names by position; `experts` and `policies` are Cedar's own handles.
    """

    cedar: ModuleType
    policies: Any
    experts: Any
    groups: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]

    def forbids(self, asked: Asked) -> Iterator[tuple[str, str]]:
        """(expert id, rule) of everything that is not permitted."""
        user = _uid("User", asked.user or STRANGER)
        entity = {"uid": user, "attrs": {}, "parents": _parents(asked)}
        entities = self.experts.with_added_json_str(json.dumps([entity]))
        context = json.dumps(_context(asked))
        questions = [
            {
                "principal": user,
                "action": 'Action::"route"',
                "resource": _uid("Expert", group[0]),
                "context": context,
            }
            for group in self.groups
        ]
        answers = self.cedar.is_authorized_batch(questions, self.policies, entities)
        for group, answer in zip(self.groups, answers, strict=True):
            for rule in self._against(answer):
                yield from ((expert_id, rule) for expert_id in group)

    def _against(self, answer: Any) -> Sequence[str]:
        """Rules that speak against it. Cedar leaves a policy out that fails; here it counts as one that forbids."""
        diagnostics = answer.diagnostics
        if diagnostics.errors:
            return [self._failed(error) for error in diagnostics.errors]
        if answer.allowed:
            return []
        return [self.names[int(reason.removeprefix("policy"))] for reason in diagnostics.reasons] or [NOTHING_PERMITS]

    def _failed(self, error: str) -> str:
        found = _FAILED.search(error)
        return f"{self.names[int(found[1])] if found else 'a policy'} (it failed)"


def _engine(cedar: ModuleType, schema: Any, policies: Sequence[CedarPolicy], registry: Registry) -> _Engine:
    told_apart = _named(policies, "Expert")
    groups: dict[object, list[Expert]] = defaultdict(list)
    for expert in registry:
        own = expert.expert_id if expert.expert_id in told_apart else None
        groups[own, expert.tier, expert.provider, expert.regions, expert.is_local, expert.moderated].append(expert)
    entities = json.dumps([_expert_entity(members[0]) for members in groups.values()])
    return _Engine(
        cedar=cedar,
        policies=cedar.PolicySet.from_str("\n".join(policy.statement.text for policy in policies)),
        experts=cedar.Entities.from_json_str(entities, schema),
        groups=tuple(tuple(expert.expert_id for expert in members) for members in groups.values()),
        names=tuple(policy.name for policy in policies),
    )


def _uid(kind: str, word: str) -> dict[str, str]:
    return {"type": kind, "id": word}


def _literal(kind: str, word: str) -> Mapping[str, Any]:
    """An entity where a value stands."""
    return {"__entity": _uid(kind, word)}


def _expert_entity(expert: Expert) -> Mapping[str, Any]:
    return {
        "uid": _uid("Expert", expert.expert_id),
        "attrs": {
            "tier": _literal("Tier", expert.tier),
            "provider": _literal("Provider", expert.provider),
            "regions": [_literal("Region", region) for region in sorted(expert.regions)],
            "self_hosted": expert.is_local,
            "moderated": expert.moderated,
        },
        "parents": [],
    }


def _parents(asked: Asked) -> list[dict[str, str]]:
    single = (("Tenant", asked.tenant), ("Channel", asked.channel), ("Workspace", asked.workspace))
    parents = [_uid(kind, word) for kind, word in single if word is not None]
    return parents + [_uid("Role", role) for role in sorted(asked.roles)]


def _context(asked: Asked) -> Mapping[str, Any]:
    """What is asked for; any word will do for what no policy looks at."""
    context = {
        "risk": _literal("Risk", asked.risk or Risk.LOW),
        "task_type": _literal("TaskType", asked.task_type or TaskType.PLANNING),
    }
    if asked.residency is not None:
        context["residency"] = _literal("Region", asked.residency)
    return context
