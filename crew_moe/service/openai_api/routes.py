"""POST /v1/chat/completions, GET /v1/models and GET /v1/models/{name}."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from crew_moe.auth.caller import AccessScope
from crew_moe.errors import CrewMoEError
from crew_moe.router import Router
from crew_moe.service.access import GuardedRoute, caller_of, needs
from crew_moe.service.openai_api.answering import Answering, Failing
from crew_moe.service.openai_api.asked import asked_of
from crew_moe.service.openai_api.body import read_chat
from crew_moe.service.openai_api.described import CHAT, MODEL, MODELS
from crew_moe.service.openai_api.listing import model_list, one_model
from crew_moe.service.openai_api.names import EVERYTHING, Offer
from crew_moe.surface.fault import Fault, fault_of
from crew_moe.surface.sight import seen


def chat_routes(router: Router, offer: Offer = EVERYTHING) -> APIRouter:
    """The OpenAI API over a router, for the names that are offered."""
    routes = APIRouter(prefix="/v1", route_class=GuardedRoute, tags=["openai"])

    @routes.post("/chat/completions", summary="Answer a chat by the right expert", **CHAT)
    @needs(AccessScope.EXECUTE, plain=True)
    async def chat_completions(request: Request) -> Response:
        """OpenAI's chat completions, whole or streamed: gated, decided, executed with fallbacks, settled.

        `model` is `auto`, `auto:fast|baseline|premium`, an expert's id or a local model. Who served, by which decision,
        at which cost and instead of whom stands in the headers X-Crew-Moe-* and in the answer's field `crew_moe`.
        """
        try:
            asked = asked_of(read_chat(await request.body()), router, caller_of(request), offer)
        except CrewMoEError as error:
            return Failing(fault_of(error))
        return Failing(asked) if isinstance(asked, Fault) else Answering(router, asked)

    @routes.get("/models", summary="List the models", **MODELS)
    @needs(AccessScope.READ, plain=True)
    async def models(request: Request) -> Response:
        """Every name that a request may have for its model."""
        return JSONResponse(model_list(seen(router.registry, caller_of(request)), offer))

    @routes.get("/models/{name:path}", summary="Look up a model", **MODEL)
    @needs(AccessScope.READ, plain=True)
    async def model(request: Request) -> Response:
        """One of the models."""
        found = one_model(request.path_params["name"], seen(router.registry, caller_of(request)), offer)
        return Failing(found) if isinstance(found, Fault) else JSONResponse(found)

    return routes
