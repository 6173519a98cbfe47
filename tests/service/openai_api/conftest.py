"""A router over simulated providers, behind the OpenAI API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crew_moe import Router
from crew_moe.sim import Simulation, simulate
from tests.service.openai_api.chatting import Chat, chatting


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


@pytest.fixture
def chat(sim: Simulation) -> Iterator[Chat]:
    with Router.from_config(state=":memory:", base_url=sim.base_url) as router, chatting(router) as found:
        yield found
