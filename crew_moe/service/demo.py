"""GET /demo/smart_routing: what each strategy that exists chooses, for one request of each kind."""

from __future__ import annotations

from typing import Any, Final, Literal

from fastapi import APIRouter, Request

from crew_moe.auth.caller import AccessScope, Caller
from crew_moe.domain.decision import Decision
from crew_moe.domain.expert import Tier
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.service.access import API, GuardedRoute, caller_of, needs
from crew_moe.service.views import DemoView
from crew_moe.strategies import STRATEGIES
from crew_moe.surface.operations import Operations

_TIERS: Final = {"simple": Tier.FAST, "moderate": Tier.BASELINE, "complex": Tier.PREMIUM}


def demo_routes(operations: Operations) -> APIRouter:
    """The endpoint that shows."""
    routes = APIRouter(prefix=API, route_class=GuardedRoute, tags=["demo"])

    @routes.get("/demo/smart_routing", response_model=DemoView, summary="Compare the strategies")
    @needs(AccessScope.READ)
    async def smart_routing(
        request: Request, complexity: Literal["simple", "moderate", "complex"] = "moderate"
    ) -> dict[str, Any]:
        """Every strategy on a typical request of every task type; the complexity is the tier that is wanted."""
        caller, tier = caller_of(request), _TIERS[complexity]
        rows = [_row(operations, caller, kind, name, tier) for kind in TaskType for name in sorted(STRATEGIES)]
        return {"complexity": complexity, "strategies": sorted(STRATEGIES), "comparison": rows}

    return routes


def _row(operations: Operations, caller: Caller, kind: TaskType, strategy: str, tier: Tier) -> dict[str, Any]:
    found = operations.suggest(caller, RoutingRequest(task_type=kind, strategy=strategy, tier=tier))
    chosen = found if isinstance(found, Decision) else None
    return {
        "request_type": kind,
        "strategy": strategy,
        "expert_id": chosen.expert_id if chosen else None,
        "tier": chosen.tier if chosen else None,
        "estimated_cost_usd": str(chosen.estimated_cost_usd) if chosen else None,
        "rationale": found.rationale if isinstance(found, Decision) else found.message,
    }
