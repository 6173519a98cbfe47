"""GET /experts, /health, /metrics and /decisions/{id}: what there is, how it does, and what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from crew_moe.auth.caller import AccessScope, Caller
from crew_moe.domain.expert import Capability, Tier
from crew_moe.routing.reports import ExpertHealth
from crew_moe.service.access import API, GuardedRoute, caller_of, needs
from crew_moe.service.views import ExpertsView, ExplanationView, HealthView, StatsView
from crew_moe.surface.experts import FIELDS, Wanted, checked_fields
from crew_moe.surface.operations import Operations
from crew_moe.surface.page import DEFAULT_LIMIT, MAX_LIMIT
from crew_moe.surface.telemetry import Telemetry

_FIELDS: Final[dict[str, Any]] = {"items": {"type": "string", "enum": list(FIELDS)}, "type": "array"}
DecisionId = Annotated[str, Path(max_length=200, description="As /route gives it.")]


def catalogue_routes(operations: Operations, telemetry: Telemetry) -> APIRouter:
    """The endpoints that look and change nothing."""
    routes = APIRouter(prefix=API, route_class=GuardedRoute, tags=["operations"])

    @routes.get("/experts", response_model=ExpertsView, response_model_exclude_unset=True, summary="List the experts")
    @needs(AccessScope.READ)
    async def experts(
        request: Request,
        tier: Tier | None = None,
        provider: Annotated[str | None, Query(max_length=200)] = None,
        capability: Annotated[list[Capability] | None, Query()] = None,
        available: bool | None = None,
        fields: Annotated[list[str] | None, Query(json_schema_extra=_FIELDS)] = None,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> dict[str, Any]:
        """Experts by pages, in the order of their ids; `next_cursor` opens the next page."""
        only = checked_fields(fields or ())
        wanted = Wanted(tier=tier, provider=provider, capabilities=frozenset(capability or ()), available=available)
        page = await run_in_threadpool(
            operations.experts, wanted, cursor=cursor, limit=limit, caller=caller_of(request)
        )
        rows = [row.as_dict(only) for row in page.rows]
        return {"experts": rows, "next_cursor": page.next_cursor, "total": page.total}

    @routes.get("/health", response_model=HealthView, summary="How each expert does")
    @needs(AccessScope.READ)
    async def health(request: Request) -> dict[str, Any]:
        """Success rate, quality, latency, cost and breaker of every expert, and whether it can be called now."""
        rows, figures = await run_in_threadpool(_standing, operations, caller_of(request))
        return {
            "status": "ok" if any(row.available for row in rows) else "degraded",
            "state": "lost" if figures["state_lost"] else "ok",
            "experts": [row.as_dict() for row in rows],
        }

    @routes.get("/metrics", response_model=StatsView, summary="Figures of this router")
    @needs(AccessScope.READ)
    async def metrics(request: Request) -> dict[str, Any]:
        """Versions, recorded calls by expert, open breakers and pins, as JSON. Prometheus reads /metrics.

        `metrics` are the same that Prometheus reads: figures of all tenants, so only an operator sees them.
        """
        caller = caller_of(request)
        stats = await run_in_threadpool(operations.stats, caller)
        whole = None if caller.tenant is not None else await run_in_threadpool(telemetry.metrics.as_json)
        return {**stats, "metrics": whole}

    @routes.get("/decisions/{decision_id}", response_model=ExplanationView, summary="Tell a decision again")
    @needs(AccessScope.READ)
    async def decision(request: Request, decision_id: DecisionId) -> dict[str, Any]:
        """A decision of your tenant with its evidence, worked out again from its own row, and what came of it."""
        found = await run_in_threadpool(operations.explain, caller_of(request), decision_id)
        return found.as_dict()

    return routes


def _standing(operations: Operations, caller: Caller) -> tuple[Sequence[ExpertHealth], dict[str, Any]]:
    return operations.health(caller=caller), operations.router.stats()
