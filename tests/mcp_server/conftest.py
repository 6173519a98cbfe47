"""A router over nothing but memory, and a client that talks to its server in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")  # read when fastmcp is imported

from fastmcp import Client

from crew_moe.router import Router
from crew_moe.telemetry.events import Recorder
from tests.mcp_server.running import server_of


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def router(sink: Recorder) -> Iterator[Router]:
    with Router.from_config(state=":memory:", sink=sink) as made:
        yield made


@pytest.fixture
async def client(router: Router) -> AsyncIterator[Client[Any]]:
    async with Client(server_of(router)) as connected:
        yield connected
