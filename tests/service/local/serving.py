"""The local gate's service on a real socket of loopback, over hosts that a test makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from crew_moe.auth.authenticator import Authenticator
from crew_moe.domain.hosting import LocalPlan
from crew_moe.local_gate.serving import LocalGate
from crew_moe.ports import Clock, Host
from crew_moe.router import Router
from crew_moe.service.app import Parts
from crew_moe.service.local.app import make_local_app
from crew_moe.service.local.jobs import Jobs
from crew_moe.service.options import ServiceOptions
from crew_moe.surface.telemetry import Telemetry
from crew_moe.telemetry.events import Recorder
from tests.local_gate.engine_hosts import FixedGate, Upper, as_host, plan
from tests.service.running import listening

MEMORY: Final = ":memory:"
FAST: Final = ServiceOptions(rate="1000000/second", failures="1000000/second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A service that answers at `url`; `client` asks it."""

    url: str
    engine: LocalGate
    router: Router
    client: httpx.Client

    def process(self, text: str, path: str = "/process/sync", **fields: Any) -> httpx.Response:
        return self.client.post(path, json={"text": text, **fields})


def engine_of(*hosts: Upper, **fields: Any) -> LocalGate:
    """An engine over these hosts, which likes the first best. `fields` are the plan's."""
    given: Mapping[str, Host] = {host.name: as_host(host) for host in hosts}
    over: LocalPlan = replace(plan(*given), **fields)
    return LocalGate.open(over, hosts=given, gate=FixedGate(list(given)))


@contextmanager
def serving(
    engine: LocalGate,
    *,
    authenticator: Authenticator | None = None,
    options: ServiceOptions = FAST,
    jobs_clock: Clock | None = None,
    config: Path | None = None,
    base_url: str | None = None,
) -> Iterator[Local]:
    """Serve on a free port until the block ends. `base_url` stands in for remote providers."""
    telemetry, log = Telemetry.open(MEMORY), Recorder()
    router = Router.from_config(config, state=MEMORY, base_url=base_url, watchers=telemetry.watchers)
    parts = Parts(
        router=router,
        telemetry=telemetry,
        authenticator=authenticator or Authenticator(),
        options=options,
        state=MEMORY,
        log=log,
    )
    jobs = Jobs(jobs_clock or router.clock)
    with ExitStack() as stack:
        url = stack.enter_context(listening(make_local_app(engine, parts, jobs=jobs)))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=30.0))
        yield Local(url=url, engine=engine, router=router, client=client)
