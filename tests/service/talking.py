"""A client of the WebSocket, as tests use it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

PATIENCE_S: Final = 10.0


@contextmanager
def talking(url: str, query: str = "", **options: Any) -> Iterator[ClientConnection]:
    address = url.replace("http", "ws", 1) + "/ws/routing" + query
    with connect(address, open_timeout=PATIENCE_S, **options) as client:
        yield client


def heard(client: ClientConnection, kind: str | None = None) -> dict[str, Any]:
    """The next event, or the next of a kind."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        event: dict[str, Any] = json.loads(client.recv(timeout=deadline - time.monotonic()))
        if kind in (None, event["kind"]):
            return event


def ended(client: ClientConnection) -> int:
    """The code that the connection ends with."""
    try:
        while True:
            client.recv(timeout=PATIENCE_S)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0
