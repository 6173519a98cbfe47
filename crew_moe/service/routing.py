"""POST /route and /route/batch: which expert should serve this?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic_core import to_json

from crew_moe.auth.caller import AccessScope, Caller
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.money import usd_written
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing.batch import Decisions
from crew_moe.service.access import API, GuardedRoute, caller_of, check_scope, needs
from crew_moe.service.bodies import Asked, Batch, RouteRequest, Work, WrappedWork, read_asked, read_batch, wanted_of
from crew_moe.service.documents import document
from crew_moe.service.examples import BATCHES, REQUESTS
from crew_moe.service.problem import Refused
from crew_moe.service.views import BatchView, RouteView
from crew_moe.services import selected_services
from crew_moe.surface.fault import Fault
from crew_moe.surface.operations import Operations

JSON: Final = "application/json"
AT_ONCE: Final = 1_000  # rows that are decided on the event loop; more of them would keep others waiting
EXPLAIN: Final = b"explain=true"
NO_SERVICE: Final = Fault(
    code="no_service",
    status=404,
    what="no registered service does this",
    where="proxy",
    next_step="leave proxy out; experts answer at /v1/chat/completions",
)


def routing_routes(operations: Operations) -> APIRouter:
    """The endpoints that decide."""
    routes = APIRouter(prefix=API, route_class=GuardedRoute, tags=["routing"])

    @routes.post(
        "/route",
        response_model=RouteView,
        summary="Route a single request",
        openapi_extra=document(RouteRequest, WrappedWork, examples=REQUESTS),
    )
    @needs(AccessScope.READ, plain=True)
    async def route(request: Request) -> Response:
        """The expert for one request, with its fallbacks and the reason. No model is called and nothing is reserved.

        `?explain=true` adds the points of each factor and who was turned away by what.
        """
        caller, asked = caller_of(request), read_asked(await request.body())
        if asked.work is not None:
            return _answer(await _work(operations, caller, asked, asked.work))
        found = operations.suggest(caller, asked.request)
        return _answer(told(found, explain=request.scope["query_string"] == EXPLAIN))

    @routes.post(
        "/route/batch",
        response_model=BatchView,
        summary="Route many requests at once",
        openapi_extra=document(Batch, examples=BATCHES),
    )
    @needs(AccessScope.READ, plain=True)
    async def route_batch(request: Request) -> Response:
        """One row for each request, in order, the same as /route would choose."""
        asked = read_batch(await request.body())
        work = partial(_batch, operations, caller_of(request), asked)
        return _answer(work() if len(asked) <= AT_ONCE else await run_in_threadpool(work))

    return routes


async def _work(operations: Operations, caller: Caller, asked: Asked, work: Work) -> dict[str, Any]:
    """Seed 004's unit of work: to the services of its type, else to an expert; with `proxy` it is done at once."""
    found = operations.select_services(caller, wanted_of(work, asked.service_strategy))
    if found is None:
        if asked.proxy:
            raise Refused(NO_SERVICE)
        return told(operations.suggest(caller, asked.request))
    row = told(found)
    if isinstance(found, Infeasible):
        return row
    row["selected_services"] = list(selected_services(found))
    if asked.proxy:
        check_scope(caller, AccessScope.EXECUTE)
        done = await operations.aproxy(caller, found.expert_id, work.data, decision=found)
        row["response"] = done.data
    return row


def told(found: Decision | Infeasible, *, explain: bool = False) -> dict[str, Any]:
    """A decision as the answer tells it."""
    if isinstance(found, Infeasible):
        row = found.as_dict()
        if not explain:
            del row["rejections"]
        return {**row, "selected_services": [], "routing_strategy": found.strategy}
    row = found.as_dict() if explain else _brief(found)
    return {**row, "selected_services": [found.expert_id], "routing_strategy": found.strategy}


def _brief(decision: Decision) -> dict[str, Any]:
    """What callers act on; the evidence is on record."""
    return {
        "ok": True,
        "decision_id": decision.decision_id,
        "expert_id": decision.expert_id,
        "profile_id": decision.profile_id,
        "tier": decision.tier,
        "fallbacks": decision.fallbacks,
        "estimated_cost_usd": f"{decision.estimated_cost_usd:f}",
        "score": decision.score,
        "confidence": decision.confidence,
        "rationale": decision.rationale,
        "strategy": decision.strategy,
        "propensity": decision.propensity,
        "task_type": decision.features.task_type,
        "policy_version": decision.policy_version,
        "registry_digest": decision.registry_digest,
        "created_at": decision.created_at.isoformat(),
    }


def _batch(operations: Operations, caller: Caller, asked: Sequence[Asked | RoutingRequest]) -> dict[str, Any]:
    works = [(number, one) for number, one in enumerate(asked) if isinstance(one, Asked)]
    served = {number: row for number, one in works if (row := _served(operations, caller, one)) is not None}
    decisions = operations.suggest_batch(caller, [one.request if isinstance(one, Asked) else one for one in asked])
    rows = list(_rows(decisions))
    for number, row in served.items():
        rows[number] = row
    return {"batch_id": decisions.record.batch_id, "count": len(rows), "results": rows}


def _served(operations: Operations, caller: Caller, asked: Asked) -> dict[str, Any] | None:
    """The row of a unit of work that registered services do; None for all others."""
    if asked.work is None:
        return None
    found = operations.select_services(caller, wanted_of(asked.work, asked.service_strategy))
    if found is None:
        return None
    return {
        "ok": found.ok,
        "decision_id": found.decision_id,
        "expert_id": found.expert_id if isinstance(found, Decision) else None,
        "selected_services": list(selected_services(found)) if isinstance(found, Decision) else [],
        "estimated_cost_usd": f"{found.estimated_cost_usd:f}" if isinstance(found, Decision) else None,
        "score": found.score if isinstance(found, Decision) else None,
    }


def _rows(decisions: Decisions) -> Iterable[dict[str, Any]]:
    """Rows out of the batch's columns, without making a Decision of each."""
    results, batch_id = decisions.results, decisions.record.batch_id
    columns = zip(decisions.expert_ids, results.cost_nano.tolist(), results.score.tolist(), strict=True)
    for number, (expert_id, cost, score) in enumerate(columns):
        ok = expert_id is not None
        yield {
            "ok": ok,
            "decision_id": f"{batch_id}.{number}",
            "expert_id": expert_id,
            "selected_services": [expert_id] if ok else [],
            "estimated_cost_usd": usd_written(round(cost)) if ok else None,
            "score": score if ok else None,
        }


def _answer(row: dict[str, Any]) -> Response:
    return Response(to_json(row), media_type=JSON)
