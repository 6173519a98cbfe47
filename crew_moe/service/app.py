"""The service as an ASGI app: the entrance around the routes, over one Router."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crew_moe.auth.authenticator import Authenticator
from crew_moe.ports import EventSink
from crew_moe.router import Router
from crew_moe.service.admission import Admission
from crew_moe.service.catalogue import catalogue_routes
from crew_moe.service.demo import demo_routes
from crew_moe.service.documents import documented
from crew_moe.service.entrance import REQUEST_ID, BodySize, Door, Hosts, RequestIds, TimeLimit, refuse
from crew_moe.service.openai_api.routes import chat_routes
from crew_moe.service.options import ServiceOptions
from crew_moe.service.overriding import overriding_routes
from crew_moe.service.probes import OPEN_PATHS, metrics_routes, probe_routes
from crew_moe.service.problem import problems_of
from crew_moe.service.registering import registering_routes
from crew_moe.service.reporting import reporting_routes
from crew_moe.service.routing import routing_routes
from crew_moe.service.stream import RoutingStream
from crew_moe.surface.fault import Fault
from crew_moe.surface.operations import Operations
from crew_moe.surface.rates import RateLimit, Rates
from crew_moe.surface.telemetry import Telemetry
from crew_moe.telemetry.events import LogSink

EXPOSED: Final = (
    REQUEST_ID,
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Crew-Moe-Expert",
    "X-Crew-Moe-Decision",
    "X-Crew-Moe-Cost-Usd",
    "X-Crew-Moe-Fallback",
)
"""Headers that a page of an allowed origin may read."""
DESCRIPTION: Final = "Which expert (LLM) should do this, inside which budget, and why: for every step of a crew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a service is made of; `state` is the URL of the state that the router has open, `log` takes a line for each
    request.
    """

    router: Router
    telemetry: Telemetry
    authenticator: Authenticator
    options: ServiceOptions
    state: str
    log: EventSink = field(default_factory=LogSink)


def make_app(parts: Parts, *, extra: APIRouter | None = None) -> FastAPI:
    """The app over these parts, which it closes when it stops. `extra` routes stand behind the same entrance."""
    stream = RoutingStream(
        parts.telemetry.feed,
        parts.authenticator,
        origins=parts.options.origins,
        log_key=parts.router.log_key,
    )
    admission = admission_of(parts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with parts.router.at_home():
            yield
        await stream.close()
        await admission.aclose()
        await asyncio.to_thread(_close, parts)

    app = FastAPI(
        title="crew-moe", version=version("crew-moe"), description=DESCRIPTION, lifespan=lifespan, redoc_url=None
    )
    operations = Operations(parts.router)
    for group in (routing_routes, reporting_routes, overriding_routes, registering_routes, demo_routes, probe_routes):
        app.include_router(group(operations))
    app.include_router(catalogue_routes(operations, parts.telemetry))
    app.include_router(chat_routes(parts.router))
    app.include_router(metrics_routes(parts.telemetry))
    if extra is not None:
        app.include_router(extra)
    app.add_api_websocket_route("/ws/routing", stream)
    app.state.farewell = stream.close
    problems_of(app)
    document_by(app, parts.router)
    parts.telemetry.bind(parts.router)
    enter(app, parts, admission)
    return app


class Observed:
    """Measures, traces and logs requests, and answers what nobody expected without giving anything away."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry, log: EventSink) -> None:
        self._app = app
        self._telemetry = telemetry
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics, tracing, began, status = self._telemetry.metrics, self._telemetry.tracing, time.perf_counter(), 500
        headers = Headers(scope=scope) if tracing.on else NO_HEADERS

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        metrics.begun()
        with tracing.request(scope["path"], scope["method"], headers) as span:
            try:
                await self._app(scope, receive, seen)
            except Exception as error:  # noqa: BLE001 - the edge of the service: one answer, and the place in the log
                self._log.emit("request_failed", error=type(error).__name__, exc_info=error)
                await refuse(scope, send, UNEXPECTED)
            finally:
                seconds, route = time.perf_counter() - began, _template(scope)
                metrics.served(route, scope["method"], status, seconds)
                span.answered(status, route)
                ms = round(seconds * 1000, 3)
                self._log.emit("request", route=route, method=scope["method"], status=status, ms=ms)


NO_HEADERS: Final[Mapping[str, str]] = {}
UNEXPECTED: Final = Fault(
    code="unexpected", status=500, what="something went wrong here", next_step="tell whoever runs this the request id"
)


def _template(scope: Scope) -> str:
    """The path of the route that answered, with its placeholders; what no route answered has none."""
    route = scope.get("route")
    return getattr(route, "path", "") if route is not None else ""


def admission_of(parts: Parts) -> Admission:
    """Who is let in, and how often."""
    rate, sink = RateLimit.parse(parts.options.rate, where="--rate"), parts.router.sink
    return Admission(
        parts.authenticator,
        rates=Rates.open(rate, parts.state, sink=sink),
        failures=Rates.open(RateLimit.parse(parts.options.failures), parts.state, name="failures", sink=sink),
        metrics=parts.telemetry.metrics,
    )


def enter(app: FastAPI, parts: Parts, admission: Admission) -> None:
    """Put the entrance in front of the routes; the last one added is passed first."""
    options = parts.options
    app.add_middleware(TimeLimit, seconds=options.timeout_s)
    app.add_middleware(BodySize, limit=options.max_body_bytes)
    app.add_middleware(Door, admit=admission, open_paths=OPEN_PATHS)
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "X-API-Key", REQUEST_ID),
            expose_headers=EXPOSED,
        )
    app.add_middleware(Hosts, hosts=options.hosts, origins=options.origins)
    app.add_middleware(Observed, telemetry=parts.telemetry, log=parts.log)
    app.add_middleware(RequestIds)


def document_by(app: FastAPI, router: Router) -> None:
    """Have the app tell its OpenAPI document, which is made once, with this router's names in it."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = documented(app, router)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's guide has it


def _close(parts: Parts) -> None:
    parts.telemetry.close()
    parts.router.close()
