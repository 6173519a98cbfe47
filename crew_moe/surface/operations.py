"""What callers can do, whichever way they come: the Router, seen through the tenant that the caller belongs to.

A caller sees and spends for its own tenant alone; an operator, who has none, for all. Nothing here knows of HTTP or
MCP, and nothing there holds a rule of its own. Scopes are checked by the surface, before it asks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from crew_moe.auth.caller import Caller
from crew_moe.catalog.policy import read_policy
from crew_moe.domain.budget import ScopeKind, ScopeStatus
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.outcome import Feedback, Outcome
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.scope import scope_of, written_scope
from crew_moe.domain.service import Registration, Service
from crew_moe.domain.snapshot import Pin
from crew_moe.domain.task import TaskType
from crew_moe.errors import InvalidRequest, UnknownDecision, UnknownExpert
from crew_moe.explanation import Explanation
from crew_moe.gating.past import Names
from crew_moe.router import Router
from crew_moe.routing.balance import Rebalance
from crew_moe.routing.batch import Decisions
from crew_moe.routing.record import commitments
from crew_moe.routing.reports import ExpertHealth
from crew_moe.routing.sharing import Wanted as Work
from crew_moe.settings import read_settings
from crew_moe.simulation import DEFAULT_DECISIONS, MAX_DECISIONS, PolicyTrial, newest, simulate
from crew_moe.state.memory.log import MemoryLog
from crew_moe.strategies import STRATEGIES
from crew_moe.surface.experts import ExpertRow, Wanted, expert_rows
from crew_moe.surface.page import DEFAULT_LIMIT, Page, page_of
from crew_moe.surface.sight import seen

if TYPE_CHECKING:
    from crew_moe.execution.service_calls import Proxied
    from crew_moe.services import ServiceStatus


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations over one router. All raise CrewMoEError's kinds; what is refused comes back as a value."""

    router: Router

    def suggest(self, caller: Caller, request: RoutingRequest) -> Decision | Infeasible:
        """Which expert to use, and why; no model is called."""
        return self.router.decide(request, principal=caller.acting)

    def suggest_batch(self, caller: Caller, requests: Sequence[RoutingRequest]) -> Decisions:
        """As `suggest` for many at once."""
        return self.router.decide_batch(requests, principal=caller.acting)

    def experts(
        self,
        wanted: Wanted = Wanted(),
        *,
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        caller: Caller | None = None,
    ) -> Page[ExpertRow]:
        """The catalogue and the services that the caller may see, by pages, in the order of the ids."""
        rows = list(expert_rows(self.router.registry, self.health(caller=caller), wanted))
        return page_of(rows, lambda row: row.expert_id, cursor=cursor, limit=limit)

    def health(self, expert_id: str | None = None, *, caller: Caller | None = None) -> tuple[ExpertHealth, ...]:
        """How each expert does, or the one that is named; services of one tenant are told of to that one alone."""
        shown = seen(self.router.registry, caller)
        rows = tuple(row for row in self.router.health() if row.expert_id in shown)
        if expert_id is None:
            return rows
        found = tuple(row for row in rows if row.expert_id == expert_id)
        if not found:
            raise UnknownExpert(expert_id, [row.expert_id for row in rows])
        return found

    def explain(self, caller: Caller, decision_id: str) -> Explanation:
        """A decision of the caller's tenant, told again; those of others are as unknown as those that never were."""
        self._own(caller, decision_id)
        return self.router.explain(decision_id)

    def record(self, caller: Caller, outcome: Outcome) -> bool:
        """Take what came of a decision of the caller's tenant; False if it was recorded before."""
        self._own(caller, outcome.decision_id)
        registry = self.router.registry
        if caller.tenant is not None and registry.hides(outcome.expert_id, caller.tenant):
            raise UnknownExpert(outcome.expert_id, registry.seen_by(caller.tenant), where="expert_id")
        return self.router.record(outcome)

    def feedback(self, caller: Caller, feedback: Feedback) -> bool:
        """Take a judgement; False when this source judged this decision before."""
        self._own(caller, feedback.decision_id)
        return self.router.feedback(feedback, principal=caller.acting)

    def pin(self, caller: Caller, expert_id: str, *, tenant: str | None = None, **terms: Any) -> Pin:
        """Send matching requests to one expert; for the caller's own tenant, whatever else is asked."""
        return self.router.pin(expert_id, tenant=_tenant(caller, tenant), by=caller.subject, **terms)

    def rank_by(self, caller: Caller, strategy: str, *, tenant: str | None = None, **terms: Any) -> Pin:
        """Put a strategy in force for matching requests; for the caller's own tenant, whatever else is asked."""
        return self.router.overrides.rank_by(strategy, tenant=_tenant(caller, tenant), by=caller.subject, **terms)

    def unpin(self, caller: Caller, *, tenant: str | None = None, **terms: Any) -> int:
        """Remove pins of the caller's tenant; how many there were."""
        return self.router.unpin(tenant=_tenant(caller, tenant), **terms)

    def budget(self, caller: Caller, scope: str | None = None) -> tuple[ScopeStatus, ...]:
        """How the caller's scopes stand, or the one that is named. Those of other tenants can't be asked for."""
        if scope is None:
            return tuple(status for status in self.router.budgets.status() if _pays(caller, status.scope))
        if not _pays(caller, written_scope(scope)):
            raise InvalidRequest("is not a scope of your tenant", where="scope")
        return self.router.budgets.status(scope)

    def ready(self) -> bool:
        """Whether the state store answers and some expert can be called."""
        rows = self.router.health()
        return not self.router.stats()["state_lost"] and any(row.available for row in rows)

    def stats(self, caller: Caller) -> dict[str, Any]:
        """Figures of the router and its store, as JSON; of pins and services those of the caller's tenant."""
        figures, registry = self.router.stats(), self.router.registry
        if caller.tenant is None:
            return figures
        names = {name for one in seen(registry, caller) for name in (one.expert_id, one.provider)}
        return {
            **figures,
            **{part: _those(figures[part], names) for part in ("calls", "provider_share", "without_room")},
            "open_breakers": [key for key in figures["open_breakers"] if key.partition(":")[2] in names],
            "pins": [pin for pin in figures["pins"] if pin["tenant"] in (None, caller.tenant)],
        }

    def register_service(self, caller: Caller, entry: Registration) -> Service:
        """Take a service; one that a tenant's caller registers serves that tenant alone."""
        entry = entry.model_copy(update={"tenant": _tenant(caller, entry.tenant)})
        return self.router.services.register(entry, by=caller.subject)

    def unregister_service(self, caller: Caller, service_id: str) -> Service:
        """Forget a service of the caller's tenant; an operator, any."""
        return self.router.services.unregister(service_id, owner=caller.tenant, by=caller.subject)

    def services(self, caller: Caller) -> tuple[ServiceStatus, ...]:
        """Registered services, by id: those of the caller's tenant, and those that serve all."""
        return self.router.services.list(owner=caller.tenant)

    def rebalance(self, caller: Caller, service_type: str | None = None) -> tuple[Rebalance, ...]:
        """Even out the load of the caller's services; of an operator's, all."""
        return self.router.services.rebalance(service_type, owner=caller.tenant, by=caller.subject)

    def select_services(self, caller: Caller, wanted: Work) -> Decision | Infeasible | None:
        """The registered services for some work; None where none of them does it."""
        wanted = wanted._replace(tenant=_tenant(caller, wanted.tenant))
        return self.router.services.route(wanted, principal=caller.acting)

    def proxy(self, caller: Caller, service_id: str, data: Any, *, decision: Decision | None = None) -> Proxied:
        """Pass work on to a service, and bring its answer."""
        return self.router.services.proxy(service_id, data, decision=decision, principal=caller.acting)

    async def aproxy(self, caller: Caller, service_id: str, data: Any, *, decision: Decision | None = None) -> Proxied:
        """As `proxy`, on an event loop."""
        return await self.router.services.aproxy(service_id, data, decision=decision, principal=caller.acting)

    def simulate(
        self,
        caller: Caller,
        candidate: str | Mapping[str, Any],
        *,
        decisions: int = DEFAULT_DECISIONS,
        task_type: str | None = None,
    ) -> PolicyTrial:
        """The newest decisions of the caller's tenant, made again under a candidate for policy.yaml.

        Raises ConfigError, which names the key that is wrong in the candidate, and InvalidRequest.
        """
        if not 1 <= decisions <= MAX_DECISIONS:
            raise InvalidRequest(f"must be from 1 to {MAX_DECISIONS}", where="decisions")
        if task_type is not None and task_type not in set(TaskType):
            raise InvalidRequest("is no task type", where="task_type", value=task_type, allowed=list(TaskType))
        router = self.router
        catalogue = router.registry.serving(())  # a policy names no services, of which some are nobody else's business
        policy = read_policy(candidate, catalogue, STRATEGIES, cedar=router.policy.cedar)
        rows = newest(router.log, decisions, task_type=task_type, sees=partial(self.may_see, caller))
        names = Names(key=router.log_key, lasting=bool(read_settings().log_key) or isinstance(router.log, MemoryLog))
        return simulate(rows, policy, current=router.policy, registry=router.registry, names=names)

    def may_see(self, caller: Caller, row: Mapping[str, Any]) -> bool:
        """Whether a row of the decision log is the caller's business."""
        if caller.tenant is None:
            return True
        committed = commitments((caller.tenant,), self.router.log_key)
        return (row.get("identity") or {}).get("tenant") == committed["tenant"]

    def _own(self, caller: Caller, decision_id: str) -> None:
        if not self.may_see(caller, self.router.outcomes.decision(decision_id)):
            raise UnknownDecision(decision_id)


def _tenant(caller: Caller, asked: str | None) -> str | None:
    if caller.tenant is not None and asked not in (None, caller.tenant):
        raise InvalidRequest("is not your tenant", where="tenant", allowed=(caller.tenant,))
    return caller.tenant or asked


def _those(figures: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name in names}


def _pays(caller: Caller, scope: str) -> bool:
    """Whether a scope belongs to the caller's tenant: it is the tenant, or has it in front."""
    if caller.tenant is None:
        return True
    own = scope_of(ScopeKind.TENANT, caller.tenant, None).partition(":")[2]
    kind, _, name = scope.partition(":")
    return name == own if kind == ScopeKind.TENANT else name.startswith(f"{own}/")
