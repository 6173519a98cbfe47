"""GET /health, /ready and /metrics at the root: for load balancers and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from crew_moe.auth.caller import AccessScope
from crew_moe.service.access import GuardedRoute, caller_of, needs
from crew_moe.service.problem import Refused
from crew_moe.service.views import AliveView, ReadyView
from crew_moe.surface.fault import Fault
from crew_moe.surface.operations import Operations
from crew_moe.surface.telemetry import Telemetry

OPEN_PATHS = ("/health", "/ready", "/openapi.json", "/docs")
"""They carry no data, so nobody has to say who he is."""


def probe_routes(operations: Operations) -> APIRouter:
    """Whether the process lives, and whether it can do its work."""
    routes = APIRouter(tags=["probes"])

    @routes.get("/health", response_model=AliveView, summary="Alive")
    async def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @routes.get("/ready", response_model=ReadyView, responses={503: {"model": ReadyView}}, summary="Ready")
    async def ready(response: Response) -> dict[str, str]:
        """The state store answers and some expert can be called; else 503, for a load balancer to look elsewhere."""
        able = await run_in_threadpool(operations.ready)
        if not able:
            response.status_code = 503
        return {"status": "ready" if able else "not_ready"}

    return routes


def metrics_routes(telemetry: Telemetry) -> APIRouter:
    """What Prometheus scrapes."""
    routes = APIRouter(route_class=GuardedRoute, tags=["probes"])

    @routes.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    @needs(AccessScope.READ)
    async def metrics(request: Request) -> Response:
        """In Prometheus' text format. The figures are those of all tenants, so only an operator sees them."""
        if caller_of(request).tenant is not None:
            told = "figures of all tenants are for operators"
            raise Refused(Fault(code="forbidden", status=403, what=told, next_step="use a credential without a tenant"))
        body = await run_in_threadpool(telemetry.metrics.render)
        return Response(body, media_type=telemetry.metrics.content_type)

    return routes
