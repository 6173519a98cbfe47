"""POST /process/sync, and /process for texts that take longer."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from crew_moe.auth.caller import AccessScope, Caller
from crew_moe.service.access import GuardedRoute, caller_of, needs
from crew_moe.service.bodies import read_model
from crew_moe.service.documents import document
from crew_moe.service.local.answering import Answering
from crew_moe.service.local.bodies import PROCESSES, JobView, ProcessedView, ProcessRequest
from crew_moe.service.local.jobs import Heard, Jobs, Owner
from crew_moe.service.openai_api.answering import while_read
from crew_moe.service.problem import Refused
from crew_moe.surface.fault import Fault

JSON: Final = "application/json"
GONE: Final = 499
"""The status, in the log alone, of a request whose client hung up."""


def processing_routes(answering: Answering, jobs: Jobs) -> APIRouter:
    """Seed 003's endpoints for texts."""
    routes = APIRouter(prefix="/process", route_class=GuardedRoute, tags=["texts"])
    body = document(ProcessRequest, examples=PROCESSES)

    @routes.post("/sync", response_model=ProcessedView, summary="Process a text", openapi_extra=body)
    @needs(AccessScope.EXECUTE, plain=True)
    async def process_sync(request: Request) -> Response:
        """The answer of the expert that was named, or that the gate chose, with its confidence and what it looked at.

        Without an answer in time (30 seconds, or `timeout_ms`) there is a problem with what may be done in
        `suggestions`. A client that hangs up ends the work.
        """
        asked = read_model(ProcessRequest, await request.body())
        answering.check(asked)
        found = await while_read(request.receive, answering.whole(asked, caller_of(request)))
        if isinstance(found, Fault):
            raise Refused(found)
        return Response(status_code=GONE) if found is None else _answer(found)

    @routes.post("", status_code=202, response_model=JobView, summary="Begin to process a text", openapi_extra=body)
    @needs(AccessScope.EXECUTE, plain=True)
    async def process(request: Request) -> Response:
        """A job, whose answer is there for its owner alone, and for ten minutes."""
        asked, caller = read_model(ProcessRequest, await request.body()), caller_of(request)
        answering.check(asked)

        async def work(heard: Heard) -> dict[str, Any] | Fault:
            return await answering.in_pieces(asked, caller, heard)

        row = jobs.start(_owner(caller), work)
        return _answer(row, 202, {"Location": f"/process/{row['job_id']}"})

    @routes.get("/{job_id}", response_model=JobView, summary="Look at a job")
    @needs(AccessScope.EXECUTE, plain=True)
    async def look(request: Request) -> Response:
        """How far it is, and its answer when it is done."""
        return _answer(jobs.look(_owner(caller_of(request)), request.path_params["job_id"]))

    @routes.delete("/{job_id}", response_model=JobView, summary="Cancel a job")
    @needs(AccessScope.EXECUTE, plain=True)
    async def drop(request: Request) -> Response:
        """Ends it if it has not ended, and forgets it and its answer."""
        return _answer(await jobs.drop(_owner(caller_of(request)), request.path_params["job_id"]))

    return routes


def _owner(caller: Caller) -> Owner:
    return caller.tenant, caller.subject


def _answer(row: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(row), status, headers=headers, media_type=JSON)
