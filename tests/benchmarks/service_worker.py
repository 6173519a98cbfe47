"""The service that is measured, in a process of its own: with tokens, a rate limit, and routes that do nothing.

`python -m tests.benchmarks.service_worker FOLDER [BASE_URL]` writes its address to stdout and serves until it ends.
The folder holds the public key of the tokens and the answer of the no-ops.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic_core import to_json

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import AccessScope
from crew_moe.router import Router
from crew_moe.service.access import GuardedRoute, needs
from crew_moe.service.app import Parts, make_app
from crew_moe.service.bodies import read_batch
from crew_moe.service.options import ServiceOptions
from crew_moe.service.serving import serve_app
from crew_moe.settings import Settings
from crew_moe.surface.telemetry import Telemetry
from tests.auth.issuing import AUDIENCE, ISSUER

MEMORY = ":memory:"
ROW = {
    "ok": True,
    "decision_id": "d-8f7e01a9fc49baae-1.1",
    "expert_id": "claude-sonnet-4",
    "selected_services": ["claude-sonnet-4"],
    "estimated_cost_usd": "0.005253",
    "score": 79.16699937401728,
}


def noops(answer: bytes) -> APIRouter:
    """What the same app does at the least: nothing with a body; a batch read into requests and answered by rows that
    are always the same; and JSON parsed and given back.
    """
    routes = APIRouter(route_class=GuardedRoute)

    @routes.post("/noop")
    @needs(AccessScope.READ)
    async def noop(body: Annotated[dict[str, Any], Body()]) -> Response:  # noqa: ARG001 - it is parsed all the same
        return Response(answer, media_type="application/json")

    @routes.post("/noop/bare")
    @needs(AccessScope.READ, plain=True)
    async def bare(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    @routes.post("/noop/batch")
    @needs(AccessScope.READ, plain=True)
    async def batch(request: Request) -> Response:
        rows = [ROW] * len(read_batch(await request.body()))
        return Response(to_json({"results": rows}), media_type="application/json")

    @routes.post("/noop/echo")
    @needs(AccessScope.READ, plain=True)
    async def echo(request: Request) -> Response:
        return Response(json.dumps(json.loads(await request.body())), media_type="application/json")

    return routes


def main() -> None:
    folder, base_url = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    accepted = Settings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_keys=str(folder / "public.pem"))
    telemetry = Telemetry.open(MEMORY)
    router = Router.from_config(state=MEMORY, base_url=base_url, watchers=telemetry.watchers)
    parts = Parts(
        router=router,
        telemetry=telemetry,
        authenticator=Authenticator.from_settings(accepted),
        options=ServiceOptions(rate="100000000/second"),
        state=MEMORY,
    )
    app = make_app(parts, extra=noops((folder / "answer.json").read_bytes()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serve_app(app, listener, drain_s=1.0, started=lambda: _tell(url), farewell=app.state.farewell)


def _tell(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
