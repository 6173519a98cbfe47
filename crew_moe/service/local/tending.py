"""GET /health with seed 003's fields, and POST /admin/reload-models."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from crew_moe.auth.caller import AccessScope
from crew_moe.domain.local_work import HostHealth, Loaded, LocalHealth
from crew_moe.errors import UnknownExpert
from crew_moe.local_gate.engine.flights import Flights
from crew_moe.local_gate.serving import LocalGate
from crew_moe.service.access import GuardedRoute, needs
from crew_moe.service.bodies import read_model
from crew_moe.service.documents import document
from crew_moe.service.local.bodies import RELOADS, HealthView, ReloadRequest, ReloadView
from crew_moe.service.local.troubles import fault_of_refusal

ELSEWHERE: Final = "server"
"""In the place of the address of a server, which is nobody's business who only asks for health."""


def health_routes(engine: LocalGate) -> APIRouter:
    """Whether it can answer at all, for whoever asks: those who ask at the same time are told of one look, so that
    nobody has servers elsewhere asked more than that.
    """
    routes = APIRouter(tags=["probes"])
    looks: Flights[str, LocalHealth] = Flights()

    @routes.get("/health", response_model=HealthView, responses={503: {"model": HealthView}}, summary="Health")
    async def health(response: Response) -> dict[str, Any]:
        """Healthy as long as some expert may answer; a model that nobody has asked yet is not loaded."""
        found, _ = await looks.join("health", lambda: run_in_threadpool(engine.health))
        row = health_row(found)
        response.status_code = 200 if row["status"] == "healthy" else 503
        return row

    return routes


def tending_routes(engine: LocalGate) -> APIRouter:
    """What whoever runs it may do."""
    routes = APIRouter(prefix="/admin", route_class=GuardedRoute, tags=["admin"])

    @routes.post(
        "/reload-models",
        response_model=ReloadView,
        summary="Load models anew",
        openapi_extra=document(ReloadRequest, examples=RELOADS, required=False),
    )
    @needs(AccessScope.ADMIN)
    async def reload_models(request: Request) -> dict[str, Any]:
        """Loads them beside the old ones and swaps: no request is dropped. What can't be loaded stays as it was."""
        wanted = read_model(ReloadRequest, await request.body() or b"{}").experts
        for name in wanted or ():
            if name not in engine.plan.hosts:
                raise UnknownExpert(name, sorted(engine.plan.hosts), where="experts")
        done = await engine.reload(wanted)
        return {
            "reloaded": [name for name, refusal in done.items() if refusal is None],
            "failed": {name: fault_of_refusal(refusal).as_dict() for name, refusal in done.items() if refusal},
        }

    return routes


def health_row(health: LocalHealth) -> dict[str, Any]:
    """A HealthView. Nothing in it tells of a path, an address or a text, for anybody may ask."""
    states = [host.state for host in health.hosts.values()]
    alive = not health.closed and any(state is not Loaded.FAILED for state in states)
    return {
        "status": "healthy" if alive else "unhealthy",
        "models_loaded": Loaded.READY in states,
        "cuda_available": health.device.startswith("cuda"),
        "device": health.device,
        "experts": {name: _host_row(name, host, health) for name, host in health.hosts.items()},
        "gate": dict(health.gate),
    }


def _host_row(name: str, host: HostHealth, health: LocalHealth) -> dict[str, Any]:
    return {
        "state": str(host.state),
        "trouble": None if host.trouble is None else str(host.trouble),
        "version": host.version,
        "device": ELSEWHERE if "://" in host.device else host.device,
        "memory_mb": round(host.memory_bytes / 2**20, 1),
        "waiting": health.queues.get(name, 0),
        "wait_s": round(health.waits_s.get(name, 0.0), 3),
        "server_queue": host.queue,
        "models": list(host.models),
    }
