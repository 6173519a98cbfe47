"""POST /outcomes and /feedback: what came of a decision."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from crew_moe.auth.caller import AccessScope
from crew_moe.domain.outcome import Feedback, Outcome
from crew_moe.service.access import API, GuardedRoute, caller_of, needs
from crew_moe.service.bodies import read_model
from crew_moe.service.documents import document
from crew_moe.service.examples import FEEDBACK, OUTCOMES
from crew_moe.service.views import RecordedView
from crew_moe.surface.operations import Operations


def reporting_routes(operations: Operations) -> APIRouter:
    """The endpoints that the router learns from."""
    routes = APIRouter(prefix=API, route_class=GuardedRoute, tags=["learning"])

    @routes.post(
        "/outcomes",
        response_model=RecordedView,
        summary="Report an outcome",
        openapi_extra=document(Outcome, examples=OUTCOMES),
    )
    @needs(AccessScope.REPORT)
    async def outcomes(request: Request) -> RecordedView:
        """How one attempt of a decision went. It moves the record and the breakers, and charges its cost, once."""
        outcome = read_model(Outcome, await request.body())
        return RecordedView(recorded=await run_in_threadpool(operations.record, caller_of(request), outcome))

    @routes.post(
        "/feedback",
        response_model=RecordedView,
        summary="Judge an answer",
        openapi_extra=document(Feedback, examples=FEEDBACK),
    )
    @needs(AccessScope.REPORT)
    async def feedback(request: Request) -> RecordedView:
        """What a person or a pipeline thinks of the answer; one judgement for each source."""
        judged = read_model(Feedback, await request.body())
        return RecordedView(recorded=await run_in_threadpool(operations.feedback, caller_of(request), judged))

    return routes
