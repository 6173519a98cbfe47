"""Access control: what the policy's rules, in whichever form, demand of a decision for this principal.

An expert must pass the rules of policy.yaml and the Cedar policies; one that forbids is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from crew_moe.domain.access import NO_DEMANDS, Asked, Demands
from crew_moe.domain.features import Features
from crew_moe.domain.policy import Policy
from crew_moe.domain.principal import Principal
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import Risk, TaskType
from crew_moe.gating.cedar import cedar_rulebook
from crew_moe.gating.rulebook import Mentions, Rulebook
from crew_moe.gating.rules import rules_rulebook
from crew_moe.routing.features import extract

MAX_KNOWN: Final = 10_000

Renew = Callable[[Registry], "AccessControl"]


class AccessControl:
    """The rules of one policy over one registry. Safe for threads: answers are frozen, and asking twice gives the same.

    Questions are narrowed to what the rules speak of before they are looked up, so that neither many tenants nor
    invented names fill the memory.
    """

    def __init__(
        self, rulebooks: Sequence[Rulebook], *, registry: Registry | None = None, renew: Renew | None = None
    ) -> None:
        """`registry` is what the rules were read over; `renew` reads them over another one."""
        self._renew = renew
        self._newest: tuple[Registry | None, AccessControl] = (registry, self)
        self._rulebooks = tuple(rulebooks)
        self._mentions = Mentions.union([book.mentions for book in rulebooks])
        self._known: dict[Asked, Demands] = {}

    def over(self, registry: Registry) -> AccessControl:
        """The same rules over the experts of another registry. The last one is kept, for it is asked for again."""
        known, found = self._newest
        if known is not registry and self._rulebooks and self._renew is not None:
            found = self._renew(registry)
            self._newest = (registry, found)
        return found

    def __bool__(self) -> bool:
        """Whether there is any rule; without one nobody needs to be asked about."""
        return bool(self._rulebooks)

    def demands(self, principal: Principal, *, risk: Risk, residency: str | None, task_type: TaskType) -> Demands:
        """What the rules forbid this principal for such a request."""
        if not self._rulebooks:
            return NO_DEMANDS
        asked = self._mentions.narrow(principal, risk, residency, task_type)
        found = self._known.get(asked)
        if found is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            found = self._known[asked] = self._judge(asked)
        return found

    def demands_of(
        self, request: RoutingRequest, principal: Principal | None = None, features: Features | None = None
    ) -> Demands:
        """As `demands`, for a request. Without a principal the request's own word counts; where a principal does not
        say its tenant or channel, the request's forbid too, and exempt from nothing. Features that nobody took yet are
        taken only where a rule looks at them.
        """
        if not self._rulebooks:
            return NO_DEMANDS
        risk, task_type = request.risk or Risk.LOW, request.task_type or TaskType.ANALYSIS
        if features is None and (self._mentions.risk or self._mentions.task_type):
            features = extract(request)
        if features is not None:
            risk, task_type = features.risk, features.task_type
        ask = partial(self.demands, risk=risk, residency=request.residency, task_type=task_type)
        if principal is None:
            return ask(asker(request))
        found, claimed = ask(principal), _claimed(request, principal)
        return found if claimed is principal else found.joined(ask(claimed))

    def _judge(self, asked: Asked) -> Demands:
        forbidden = frozenset(bar for book in self._rulebooks for bar in book.forbids(asked))
        return Demands(forbidden=forbidden) if forbidden else NO_DEMANDS


def access_control(policy: Policy, registry: Registry) -> AccessControl:
    """The access rules of a policy, checked. Raises ConfigError for a wrong Cedar policy, and MissingExtra where there
    are Cedar policies and no Cedar: rules are never passed over.
    """
    books = (rules_rulebook(policy.access, registry), cedar_rulebook(policy.cedar, registry))
    found = [book for book in books if book is not None]
    return AccessControl(found, registry=registry, renew=partial(access_control, policy))


def asker(request: RoutingRequest) -> Principal:
    """Who asks where nobody was authenticated: whoever the request says."""
    return Principal(subject=request.user or "", tenant=request.tenant, channel=request.channel)


def _claimed(request: RoutingRequest, principal: Principal) -> Principal:
    """The principal, with what it does not say of itself as the request says it."""
    tenant, channel = principal.tenant or request.tenant, principal.channel or request.channel
    if (tenant, channel) == (principal.tenant, principal.channel):
        return principal
    return replace(principal, tenant=tenant, channel=channel)
