"""The server as tests run it: in this process, on a real socket of loopback, or as a program of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final

import uvicorn
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from crew_moe.router import Router
from crew_moe.surface.operations import Operations
from mcp_server.exposure import Exposure
from mcp_server.server import PATH, RouterServer
from tests.waiting import until

ROOT: Final = Path(__file__).resolve().parents[2]
WRITES: Final = Exposure(writes=True)
KEPT: Final = ("HOME", "PATH", "CREWAI_STORAGE_DIR")  # of the environment: all that the program needs


def server_of(router: Router, exposure: Exposure = WRITES, **options: Any) -> RouterServer:
    return RouterServer(Operations(router), exposure, **options)


def wire(message: Any) -> dict[str, Any]:
    """A message as the protocol writes it; SDKs call the fields by names of their own."""
    told: dict[str, Any] = message.model_dump(mode="json", by_alias=True, exclude_none=True)
    return told


@contextmanager
def listening(server: RouterServer, hosts: Sequence[str] = ()) -> Iterator[str]:
    """Serve over HTTP until the block ends; the address of the MCP endpoint."""
    config = uvicorn.Config(server.app(hosts), host="127.0.0.1", port=0, log_config=None, lifespan="on")
    running = uvicorn.Server(config)
    thread = Thread(target=running.run, daemon=True)
    thread.start()
    try:
        until(lambda: running.started or not thread.is_alive())
        port = running.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{PATH}"
    finally:
        running.should_exit = True
        thread.join(timeout=30)


def environment(**more: str) -> dict[str, str]:
    """What a program of its own finds around it."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def command(*arguments: str) -> list[str]:
    """The program and its arguments."""
    return [sys.executable, "-m", "mcp_server", *arguments]


def over_stdio(*arguments: str, log: Path | None = None, **variables: str) -> Client[StdioTransport]:
    """A client that starts the program; what it writes to stderr goes to `log`."""
    program, *rest = command(*arguments)
    return Client(StdioTransport(program, rest, env=environment(**variables), log_file=log, keep_alive=False))
