"""The service on a real socket of loopback, over simulated providers or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

import httpx
import uvicorn
from fastapi import APIRouter

from crew_moe.auth.authenticator import Authenticator
from crew_moe.domain.host_rules import LOOPBACK
from crew_moe.router import Router
from crew_moe.service.app import Parts, make_app
from crew_moe.service.options import ServiceOptions
from crew_moe.surface.telemetry import Telemetry
from crew_moe.telemetry.events import Recorder
from tests.waiting import until

MEMORY: Final = ":memory:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service that answers at `url`; `client` asks it with what was given, `log` has its lines."""

    url: str
    router: Router
    telemetry: Telemetry
    client: httpx.Client
    log: Recorder

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return self.client.post(path, json=body, **more)


@contextmanager
def running(
    *,
    authenticator: Authenticator | None = None,
    options: ServiceOptions | None = None,
    state: str = MEMORY,
    headers: dict[str, str] | None = None,
    extra: APIRouter | None = None,
    **router_options: Any,
) -> Iterator[Running]:
    """Serve on a free port until the block ends. `router_options` as for Router.from_config."""
    options = options or ServiceOptions(rate="1000000/second")
    telemetry, log = Telemetry.open(state), Recorder()
    router = Router.from_config(state=state, watchers=telemetry.watchers, service_hosts=LOOPBACK, **router_options)
    parts = Parts(
        router=router,
        telemetry=telemetry,
        authenticator=authenticator or Authenticator(),
        options=options,
        state=state,
        log=log,
    )
    with ExitStack() as stack:
        url = stack.enter_context(listening(make_app(parts, extra=extra)))
        client = stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=30.0))
        yield Running(url=url, router=router, telemetry=telemetry, client=client, log=log)


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve an ASGI app on a free port; the address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
