"""Registered services: joined, looked at, routed to, proxied to and rebalanced (seed 004).

A service lives in the state store, so that every replica knows it, and is an expert from the moment that the board of a
replica shows it: one that takes chats is weighed with the catalogue, one that takes plain JSON is found by its type.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from crew_moe.boards import Boards
from crew_moe.deciding import Deciding
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.host_rules import HostRules
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.service import Registration, Service, accepted
from crew_moe.domain.snapshot import Circuit
from crew_moe.errors import HostNotAllowed, InvalidRequest, RefusedError, ServiceConflict, UnknownService
from crew_moe.execution.errand import Errand
from crew_moe.execution.route import Route
from crew_moe.execution.screened import Screened
from crew_moe.guards import Guards
from crew_moe.ports import Clock, EventSink, StateStore
from crew_moe.routing.balance import Rebalance, balance_of, rebalanced
from crew_moe.routing.reports import ExpertHealth, health_of
from crew_moe.routing.sharing import SERVICE_STRATEGIES, Sharing, Wanted

if TYPE_CHECKING:
    from crew_moe.execution.service_calls import Proxied, ServiceCalls

__all__ = ["SERVICE_STRATEGIES", "Rebalance", "ServiceStatus", "Services", "Wanted", "selected_services"]

MAX_SERVICES: Final = 1_000
RESERVED: Final = ("auto", "moe-")
"""Names of models that the router itself answers to begin with these."""

Owner = str | None
"""The tenant for whom somebody acts; None: an operator's, who acts for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """A service and how it does: calls on record (faded by age), those under way from here, rates 0-1, times in ms."""

    service: Service
    available: bool
    reason: str
    breaker: str
    under_way: int
    calls: float
    success_rate: float | None
    latency_ms: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what the service said of itself, and beside it how it does."""
        told = {name: value for name, value in asdict(self).items() if name not in ("service", "latency_ms")}
        return {**self.service.as_dict(), **told, "observed_latency_ms": self.latency_ms}


class Services:
    """What `router.services` does. `calls` makes the client, when the first service is called.

    Whoever acts for a tenant sees its own services and those that serve everybody, and changes its own alone.
    """

    def __init__(
        self,
        *,
        state: StateStore,
        boards: Boards,
        deciding: Deciding,
        guards: Guards,
        calls: Callable[[], ServiceCalls],
        rules: HostRules,
        clock: Clock,
        sink: EventSink,
        look_up: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        self._state = state
        self._boards = boards
        self._deciding = deciding
        self._guards = guards
        self._make_calls = calls
        self._rules = rules
        self._clock = clock
        self._sink = sink
        self._look_up = look_up or addresses_of

    @cached_property
    def _calls(self) -> ServiceCalls:
        return self._make_calls()

    # ---- the register ---------------------------------------------------------------------------------------------

    def register(self, entry: Registration, *, by: str = "") -> Service:
        """Take a service, in the place of one of the same id and owner. Raises ServiceConflict for an id that is
        somebody else's, and HostNotAllowed and InvalidInput for an address that the router must not ask.
        """
        service = accepted(entry, at=self._clock.now(), by=by)
        self._check_id(service.service_id)
        self._check_address(service.endpoint, "endpoint")
        if service.health_url is not None:
            self._check_address(service.health_url, "health_url")
        if not self._state.register(service):
            raise ServiceConflict(service.service_id, "belongs to another owner")
        self._boards.refresh(force=True)
        self._sink.emit("service_registered", **_named(service, by))
        return service

    def unregister(self, service_id: str, *, owner: Owner = None, by: str = "") -> Service:
        """Forget a service; calls under way end as they may. Raises UnknownService, and ServiceConflict for one that
        serves everybody where a tenant wants it gone.
        """
        service = self.get(service_id, owner=owner)
        if owner is not None and service.tenant is None:
            raise ServiceConflict(service_id, "serves every tenant: only an operator takes it away")
        self._state.unregister(service_id)
        self._boards.refresh(force=True)
        self._sink.emit("service_unregistered", **_named(service, by))
        return service

    def get(self, service_id: str, *, owner: Owner = None) -> Service:
        """A service that this owner may see. Raises UnknownService."""
        seen = {one.service_id: one for one in self._state.services() if _sees(owner, one)}
        found = seen.get(service_id)
        if found is None:
            raise UnknownService(service_id, seen)
        return found

    def list(self, *, owner: Owner = None) -> tuple[ServiceStatus, ...]:
        """The services that this owner may see, by id, and how each does."""
        self._boards.refresh(force=True)
        board = self._boards.current()
        health = {row.expert_id: row for row in health_of(board)}
        under_way = self._under_way
        return tuple(
            _status(one, health[one.service_id], under_way.get(one.service_id, 0))
            for one in board.services
            if _sees(owner, one)
        )

    def match(self, wanted: Wanted) -> tuple[Service, ...]:
        """The services that do such work for that tenant, whether they may just now or not."""
        services = self._boards.current().services
        return tuple(
            one for one in services if one.serves(wanted.tenant) and one.fits(wanted.type, wanted.capabilities)
        )

    # ---- routing and calling --------------------------------------------------------------------------------------

    def route(self, wanted: Wanted, *, principal: Principal | None = None) -> Decision | Infeasible | None:
        """The service for some work, on the record as any decision; None where no registered service does it.

        Chosen by weight x free places: places that this process has not filled itself, of those services that have any
        left at all and whose breakers let calls pass. Raises InvalidRequest for an unknown strategy.
        """
        return self._deciding.between(wanted, principal=principal, under_way=self._under_way)

    def proxy(
        self, service_id: str, data: Any, *, decision: Decision | None = None, principal: Principal | None = None
    ) -> Proxied:
        """Pass work on to a service and bring its answer. Without the `decision` that chose it one is put on record.

        Raises UnknownService, InvalidRequest, RefusedError where the service may not be asked now, and ExecutionFailed
        with the attempt.
        """
        content = self._calls.content(data)
        return self._calls.post(*self._way(service_id, content, decision, principal))

    async def aproxy(
        self, service_id: str, data: Any, *, decision: Decision | None = None, principal: Principal | None = None
    ) -> Proxied:
        """As `proxy`, on an event loop."""
        content = self._calls.content(data)
        return await self._calls.apost(*self._way(service_id, content, decision, principal))

    def check(self, *, service_type: str | None = None, owner: Owner = None) -> dict[str, bool]:
        """Ask services at their health URLs: whether each is well. It moves their breakers as an outcome does."""
        chosen = [
            one for one in self._state.services() if _sees(owner, one) and service_type in (None, one.service_type)
        ]
        return self._calls.check(chosen)

    # ---- load -----------------------------------------------------------------------------------------------------

    def rebalance(self, service_type: str | None = None, *, owner: Owner = None, by: str = "") -> tuple[Rebalance, ...]:
        """Set the weights of services anew, so that the load evens out over those of one type and owner.

        First their health is asked. Then each gets the weight that crew_moe.routing.balance works out from its places,
        its record and its breaker. In the state nothing changes but weights, all at once, and breakers by the health
        that was found; experts of the catalogue stay as they are. Raises UnknownService for a type that nobody has.
        """
        mine = [one for one in self._state.services() if owner is None or one.tenant == owner]
        types = sorted({one.service_type for one in mine})
        if service_type is not None and service_type not in types:
            raise UnknownService(service_type, types)
        chosen = [one for one in mine if service_type in (None, one.service_type)]
        healthy = self._calls.check(chosen)
        self._boards.refresh(force=True)
        done = rebalanced(chosen, self._boards.current(), healthy)
        self._state.reweigh({name: weight for one in done for name, weight in one.after.items()})
        self._boards.refresh(force=True)
        for one in done:
            self._sink.emit(
                "services_rebalanced",
                service_type=one.service_type,
                tenant=one.tenant,
                by=by,
                score_before=round(one.score_before, 4),
                score_after=round(one.score_after, 4),
            )
        return done

    def balance_score(self) -> float:
        """How even the load is over registered services, by Jain's index: the types' mean, 1.0 where there are none."""
        return balance_of(self._boards.current())

    def evenness(self) -> float | None:
        """As `balance_score`; None where no service is registered, so that there is nothing to be even."""
        board = self._boards.current()
        return balance_of(board) if board.services else None

    def close(self) -> None:
        """Give connections back."""
        if "_calls" in self.__dict__:
            self._calls.close()

    # ---- inside ---------------------------------------------------------------------------------------------------

    @property
    def _under_way(self) -> Mapping[str, int]:
        return self._calls.under_way if "_calls" in self.__dict__ else {}

    def _check_id(self, service_id: str) -> None:
        registry = self._boards.current().registry
        services = {one.service_id for one in self._state.services()}
        if service_id.lower().startswith(RESERVED):
            raise ServiceConflict(service_id, f"begins as names of the router's own do: {', '.join(RESERVED)}")
        if service_id in registry and service_id not in services:
            raise ServiceConflict(service_id, "is an expert of the catalogue")
        if len(services) >= MAX_SERVICES and service_id not in services:
            raise InvalidRequest(
                f"{MAX_SERVICES:,} services are registered, and there may be no more", where="service_id"
            )

    def _check_address(self, url: str, where: str) -> None:
        """Judge an address as it is written, and what it stands for now, if anything."""
        host = self._rules.check_url(url, where=where)
        found = self._look_up(host)
        if found and not any(self._rules.allows_address(host, address) for address in found):
            raise HostNotAllowed("its host stands for addresses that are not listed", where=where)

    def _way(
        self, service_id: str, content: bytes, decision: Decision | None, principal: Principal | None
    ) -> tuple[Service, bytes, Route]:
        """The service as it is known here, what it is sent, and the route on which its call stands."""
        owner = None if principal is None else principal.tenant
        seen = {one.service_id: one for one in self._boards.current().services if _sees(owner, one)}
        service = seen.get(service_id)
        if service is None:
            raise UnknownService(service_id, seen)
        if service.is_chat:
            raise InvalidRequest("takes chats: call it as a model", where="service_id")
        if decision is None:
            decision = self._alone(service, principal)
        elif service_id not in (decision.expert_id, *decision.fallbacks):
            raise InvalidRequest("is not among those that were chosen", where="service_id")
        route = Route(
            decision_id=decision.decision_id,
            task_type=decision.features.task_type,
            experts=(service_id,),
            max_attempts=1,
            errand=self._errand(decision, service, content, principal),
        )
        return service, content, route

    def _errand(self, decision: Decision, service: Service, content: bytes, principal: Principal | None) -> Errand:
        """For whom the work is done, and what the gate is told of it; its digest names this very work."""
        return self._guards.errand(
            RoutingRequest(task_type=decision.features.task_type, tenant=service.tenant),
            task=decision.decision_id,
            principal=principal,
            screened=Screened(chat=ChatRequest(messages=())),
            opening=content.decode(),
        )

    def _alone(self, service: Service, principal: Principal | None) -> Decision:
        """A decision for this very service, so that the call is on record."""
        wanted = Wanted(type=service.service_type, tenant=service.tenant)
        name = service.service_id
        found = self._deciding.between(wanted, principal=principal, under_way=self._under_way, only=name)
        if found is None:
            raise UnknownService(name)
        if isinstance(found, Infeasible):
            raise RefusedError(found)
        return found


def selected_services(decision: Decision) -> tuple[str, ...]:
    """The services that are to do the work of a decision; the expert of one that chose among experts."""
    basis = decision.basis
    return basis.selected if isinstance(basis, Sharing) else (decision.expert_id,)


def addresses_of(host: str) -> Sequence[str]:
    """What a host stands for now, by the machine's own resolver; nothing where it is not known (yet)."""
    try:
        return list({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError):
        return ()


def _named(service: Service, by: str) -> dict[str, Any]:
    return {"service_id": service.service_id, "service_type": service.service_type, "tenant": service.tenant, "by": by}


def _sees(owner: Owner, service: Service) -> bool:
    return owner is None or service.serves(owner)


def _status(service: Service, health: ExpertHealth, under_way: int) -> ServiceStatus:
    worse = health.breaker if health.breaker != Circuit.CLOSED else health.provider_breaker
    return ServiceStatus(
        service=service,
        available=health.available,
        reason=health.reason,
        breaker=str(worse),
        under_way=under_way,
        calls=health.samples,
        success_rate=health.success_rate,
        latency_ms=health.latency_ms,
    )
