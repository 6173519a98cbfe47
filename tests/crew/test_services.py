"""A crew goes on while services come and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crewai import Crew

from crew_moe.crew import RoutedLLM, attach
from crew_moe.domain.service import Registration
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.service_host import Host, hosting


@pytest.fixture
def host() -> Iterator[Host]:
    with hosting() as running:
        yield running


@pytest.fixture
def open_router(sim: Simulation) -> Iterator[Router]:
    with Router.from_config(state=":memory:", base_url=sim.base_url, service_hosts=["127.0.0.1"]) as made:
        yield made


def test_calls_go_elsewhere_once_a_service_has_left(
    crew: Crew, open_router: Router, sim: Simulation, host: Host
) -> None:
    model = attach(crew, router=open_router).agents[0].llm
    assert isinstance(model, RoutedLLM)
    best = Registration(
        service_id="chatty",
        service_type="inference",
        endpoint=host.url("/v1"),
        protocol="openai",
        quality=1.0,
        latency_ms=1.0,
        capabilities=["tools", "json", "code", "reasoning"],
    )
    open_router.services.register(best)

    assert model.call("How are you?") == "chatty says hello"
    open_router.services.unregister("chatty")
    answer = model.call("And now?")

    assert answer != "chatty says hello"
    assert len(host.posts) == 1
    assert len(sim.requests) == 1
