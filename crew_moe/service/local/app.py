"""The local gate as an ASGI app: seed 003's endpoints and OpenAI's, behind the entrance that all services have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from crew_moe.domain.expert import Transport
from crew_moe.execution.hosted import AUTO, PREFIX, HostedClient
from crew_moe.local_gate.serving import LocalGate
from crew_moe.service.app import Parts, admission_of, document_by, enter
from crew_moe.service.local.answering import Answering
from crew_moe.service.local.jobs import Jobs
from crew_moe.service.local.processing import processing_routes
from crew_moe.service.local.tending import health_routes, tending_routes
from crew_moe.service.openai_api.names import Offer
from crew_moe.service.openai_api.routes import chat_routes
from crew_moe.service.probes import metrics_routes
from crew_moe.service.problem import problems_of

DESCRIPTION: Final = "Self-hosted experts behind a trained gate: texts in, the right expert's answers out."


def make_local_app(engine: LocalGate, parts: Parts, *, jobs: Jobs | None = None) -> FastAPI:
    """The app over an engine and the parts of a service, all of which it closes when it stops.

    Chats pass the router, and what it hosts in this process is this engine's.
    """
    router = parts.router
    jobs = jobs or Jobs(router.clock)
    admission = admission_of(parts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(engine.warm())
        async with router.at_home():
            yield
        warming.cancel()
        await asyncio.wait([warming])
        await jobs.aclose()
        await admission.aclose()
        await asyncio.to_thread(_close, engine, parts)

    app = FastAPI(
        title="crew-moe local", version=version("crew-moe"), description=DESCRIPTION, lifespan=lifespan, redoc_url=None
    )
    hosted = frozenset(f"{PREFIX}{name}" for name in (AUTO, *engine.plan.hosts))
    fallback = engine.plan.fallback
    offer = Offer(hosted=hosted, instead=() if fallback is None else (fallback,))
    app.include_router(processing_routes(Answering(engine, router, parts.telemetry.lookout), jobs))
    app.include_router(tending_routes(engine))
    app.include_router(health_routes(engine))
    app.include_router(metrics_routes(parts.telemetry))
    app.include_router(chat_routes(router, offer))
    problems_of(app)
    document_by(app, router)
    router.executor.client.register(Transport.HOSTED, HostedClient(lambda: engine))
    parts.telemetry.bind(router)
    enter(app, parts, admission)
    return app


def _close(engine: LocalGate, parts: Parts) -> None:
    parts.telemetry.close()
    engine.close()
    parts.router.close()
