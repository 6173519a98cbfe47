"""On whose behalf a call is made: whose money it spends, and what the gate is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, overload

from crew_moe.domain.budget import BudgetPolicy, Ceiling, ScopeKind
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.scope import scope_of
from crew_moe.domain.verdict import GateContext

Payers = Mapping[ScopeKind, str]

_bare: Final = object.__new__
_put: Final = object.__setattr__  # past the model's own, which forbids it
NO_LIMITS: Final[Mapping[ScopeKind, Ceiling]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """The scopes that pay, widest first, with the limits of those that have none of their own, and what the gate is
    told: `context` without the expert and the price, which are filled in for each call. None: nobody asks the gate.
    """

    scopes: tuple[str, ...] = ()
    ceilings: Mapping[str, Ceiling] = field(default_factory=dict)
    context: GateContext | None = None


NOBODYS: Final = Errand()


def errand_of(
    payers: Payers,
    policy: BudgetPolicy,
    *,
    limits: Mapping[ScopeKind, Ceiling] = NO_LIMITS,
    context: GateContext | None = None,
) -> Errand:
    """The errand for `payers`; `limits` came with the task or its run, the tighter of two limits holds."""
    tenant = payers.get(ScopeKind.TENANT)
    named = [(kind, scope_of(kind, name, tenant)) for kind in ScopeKind if (name := payers.get(kind))]
    ceilings = {scope: found for kind, scope in named if (found := _ceiling(scope, limits.get(kind), policy))}
    # A task that nobody limits needs no sum of its own: its money is in those of the wider scopes.
    scopes = tuple(scope for kind, scope in named if kind is not ScopeKind.TASK or scope in ceilings)
    return Errand(scopes=scopes, ceilings=ceilings, context=context)


def payers_of(request: RoutingRequest, principal: Principal | None, *, task: str | None = None) -> dict[ScopeKind, str]:
    """Who pays for a request, by name; a principal's names take the place of the request's. `task` names this
    execution of it.
    """
    names = {
        ScopeKind.TENANT: (principal.tenant if principal else None) or request.tenant,
        ScopeKind.PROJECT: request.project,
        ScopeKind.USER: principal.subject if principal else request.user,
        ScopeKind.CHANNEL: (principal.channel if principal else None) or request.channel,
        ScopeKind.RUN: request.run_id,
        ScopeKind.TASK: task,
    }
    return {kind: name for kind, name in names.items() if name}


def spoken_for(request: RoutingRequest, principal: Principal | None) -> RoutingRequest:
    """The request as whoever was authenticated makes it: his names take the place of those that it gives itself."""
    if principal is None:
        return request
    names = {
        "tenant": principal.tenant or request.tenant,
        "user": principal.subject or None,
        "channel": principal.channel or request.channel,
    }
    made: RoutingRequest = _bare(type(request))
    # What model_copy(update=...) does, at a fifth of its price: this is on the way of every decision.
    _put(made, "__dict__", {**request.__dict__, **names})
    _put(made, "__pydantic_fields_set__", request.__pydantic_fields_set__)
    _put(made, "__pydantic_extra__", None)
    _put(made, "__pydantic_private__", None)
    return made


class SpokenFor(Sequence[RoutingRequest]):
    """Requests as a principal makes them, each made anew when it is read: who decides many of them reads few."""

    def __init__(self, requests: Sequence[RoutingRequest], principal: Principal) -> None:
        self.raw = requests
        self._principal = principal

    def __len__(self) -> int:
        return len(self.raw)

    @overload
    def __getitem__(self, index: int) -> RoutingRequest: ...
    @overload
    def __getitem__(self, index: slice) -> list[RoutingRequest]: ...
    def __getitem__(self, index: int | slice) -> RoutingRequest | list[RoutingRequest]:
        if isinstance(index, slice):
            return [spoken_for(one, self._principal) for one in self.raw[index]]
        return spoken_for(self.raw[index], self._principal)


def _ceiling(scope: str, given: Ceiling | None, policy: BudgetPolicy) -> Ceiling | None:
    rule = policy.rule(scope)
    ruled = None if rule is None else Ceiling(limit_nano=rule.limit_nano, window=rule.window)
    found = [ceiling for ceiling in (given, ruled) if ceiling is not None]
    return min(found, key=lambda ceiling: ceiling.limit_nano, default=None)
