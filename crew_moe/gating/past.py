"""Access rules asked about decisions of the past, of which the log keeps no names but keyed digests of them.

Whoever has the key finds a name that rules speak of by its digest. Roles and workspaces are not kept at all, nor
whether somebody was authenticated, which exemptions go by: rules that look at those can't be asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from crew_moe.domain.access import AccessRule, Demands, Who
from crew_moe.domain.digest import digest
from crew_moe.domain.policy import Policy
from crew_moe.domain.principal import Principal
from crew_moe.domain.registry import Registry
from crew_moe.domain.task import Risk, TaskType
from crew_moe.gating.access import AccessControl, access_control
from crew_moe.gating.cedar import cedar_rulebook

NOBODY: Final = Who()


class Unknowable(Exception):
    """What a rule looks at is not in the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Finds names by their digests. `lasting`: the key was the same for every row, so that one that is not found is
    none of those looked for.
    """

    key: bytes
    lasting: bool

    def among(self, row: Mapping[str, Any], field: str, names: Iterable[str]) -> str | None:
        """Which of `names` stands in this identity field of the row; None for any other. Raises Unknowable."""
        looked_for = tuple(names)
        if looked_for and not row["text_digest"]:
            raise Unknowable  # a row of a batch, which keeps nothing of who asked
        told = row["identity"].get(field)
        if told is None:
            return None
        found = next((name for name in looked_for if digest(name, key=self.key).hex() == told), None)
        if found is None and looked_for and not self.lasting:
            raise Unknowable
        return found


class PastAccess:
    """The rules of one policy over one registry. Raises ConfigError and MissingExtra as access_control does."""

    def __init__(self, policy: Policy, registry: Registry, names: Names) -> None:
        self._control: AccessControl = access_control(policy, registry)
        self._names = names
        self._who = _all_of(rule.who for rule in policy.access)
        cedar = cedar_rulebook(policy.cedar, registry)
        self._knowable = all(_knowable(rule) for rule in policy.access) and (
            cedar is None or cedar.mentions.who == NOBODY
        )

    def demands(self, row: Mapping[str, Any], *, risk: Risk, residency: str | None, task_type: TaskType) -> Demands:
        """What the rules forbid whoever asked for this. Raises Unknowable."""
        if not self._control:
            return Demands()
        if not self._knowable:
            raise Unknowable
        asker = Principal(
            subject=self._names.among(row, "user", self._who.users) or "",
            tenant=self._names.among(row, "tenant", self._who.tenants),
            channel=self._names.among(row, "channel", self._who.channels),
        )
        return self._control.demands(asker, risk=risk, residency=residency, task_type=task_type)


def _knowable(rule: AccessRule) -> bool:
    return not (rule.who.roles or rule.who.workspaces or rule.unless)


def _all_of(several: Iterable[Who]) -> Who:
    found = tuple(several)
    return Who(
        tenants=frozenset(name for who in found for name in who.tenants),
        users=frozenset(name for who in found for name in who.users),
        channels=frozenset(name for who in found for name in who.channels),
    )
