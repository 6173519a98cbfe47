"""What every form of access rules comes down to, so that both can be asked, and their answers kept, in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from crew_moe.domain.access import Asked, Who
from crew_moe.domain.principal import Principal
from crew_moe.domain.task import Risk, TaskType

STRANGER: Final = "\0"
"""Stands for every name that no rule speaks of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentions:
    """What rules speak of. Whatever else is asked makes no difference to them.

    `residencies` is None where rules do not look at the residency, and else those that they tell apart.
    """

    who: Who
    residencies: frozenset[str] | None
    risk: bool
    task_type: bool

    def narrow(self, principal: Principal, risk: Risk, residency: str | None, task_type: TaskType) -> Asked:
        """The question as the rules see it: equal for all to whom they give the same answer."""
        who = self.who
        if self.residencies is None:
            residency = None
        elif residency is not None and residency not in self.residencies:
            residency = STRANGER
        return Asked(
            principal.tenant if principal.tenant in who.tenants else None,
            who.roles & principal.roles,
            principal.channel if principal.channel in who.channels else None,
            principal.workspace if principal.workspace in who.workspaces else None,
            principal.subject if principal.subject in who.users else None,
            risk if self.risk else None,
            residency,
            task_type if self.task_type else None,
        )

    @classmethod
    def union(cls, several: Sequence[Mentions]) -> Self:
        whos = [each.who for each in several]
        residencies = [each.residencies for each in several if each.residencies is not None]
        return cls(
            who=Who(
                tenants=_all(who.tenants for who in whos),
                roles=_all(who.roles for who in whos),
                channels=_all(who.channels for who in whos),
                workspaces=_all(who.workspaces for who in whos),
                users=_all(who.users for who in whos),
            ),
            residencies=_all(residencies) if residencies else None,
            risk=any(each.risk for each in several),
            task_type=any(each.task_type for each in several),
        )


class Rulebook(NamedTuple):
    """Rules of one form: what they speak of, and (expert id, rule) of everything that they forbid to who asks."""

    mentions: Mentions
    forbids: Callable[[Asked], Iterable[tuple[str, str]]]


def _all(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)
