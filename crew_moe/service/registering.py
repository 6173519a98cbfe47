"""/services and /load/rebalance: services that register themselves, and how their load is evened out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict

from crew_moe.auth.caller import AccessScope
from crew_moe.domain.request import Name
from crew_moe.domain.service import Registration
from crew_moe.service.access import API, GuardedRoute, caller_of, needs
from crew_moe.service.bodies import read_model
from crew_moe.service.documents import document
from crew_moe.service.examples import REBALANCES, SERVICES
from crew_moe.service.views import RebalancesView, ServicesView, ServiceView
from crew_moe.surface.operations import Operations

ServiceName = Annotated[str, Path(max_length=200, description="As it was registered.")]


class Rebalancing(BaseModel):
    """Which services to rebalance: those of one type, or all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service_type: Name | None = None


def registering_routes(operations: Operations) -> APIRouter:
    """The endpoints of registered services."""
    routes = APIRouter(prefix=API, route_class=GuardedRoute, tags=["services"])

    @routes.post(
        "/services/register",
        status_code=201,
        response_model=ServiceView,
        responses={409: {}},
        summary="Register new service",
        openapi_extra=document(Registration, examples=SERVICES),
    )
    @needs(AccessScope.ADMIN)
    async def register(request: Request) -> dict[str, Any]:
        """The service is an expert from now on, in every replica. Its addresses must be among the allowed ones."""
        entry = read_model(Registration, await request.body())
        service = await run_in_threadpool(operations.register_service, caller_of(request), entry)
        return service.as_dict()

    @routes.delete("/services/{service_id}", response_model=ServiceView, summary="Unregister service")
    @needs(AccessScope.ADMIN)
    async def unregister(request: Request, service_id: ServiceName) -> dict[str, Any]:
        """Nothing is routed to it any more; calls under way end as they may."""
        service = await run_in_threadpool(operations.unregister_service, caller_of(request), service_id)
        return service.as_dict()

    @routes.get("/services", response_model=ServicesView, summary="List all services")
    @needs(AccessScope.READ)
    async def services(request: Request) -> dict[str, Any]:
        """The services of your tenant and those of everybody, and how each does."""
        rows = await run_in_threadpool(operations.services, caller_of(request))
        return {"services": [row.as_dict() for row in rows]}

    @routes.post(
        "/load/rebalance",
        response_model=RebalancesView,
        summary="Trigger load rebalancing",
        openapi_extra=document(Rebalancing, examples=REBALANCES, required=False),
    )
    @needs(AccessScope.ADMIN)
    async def rebalance(request: Request) -> dict[str, Any]:
        """Looks at the health of registered services and sets their weights anew, so that their load evens out."""
        asked = read_model(Rebalancing, await request.body() or b"{}")
        done = await run_in_threadpool(operations.rebalance, caller_of(request), asked.service_type)
        return {"rebalanced": [row.as_dict() for row in done]}

    return routes
