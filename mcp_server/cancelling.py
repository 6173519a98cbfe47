"""Cancelling over HTTP, where every request stands alone: a client hangs up, or says so in a request of its own.

To hang up ends a call at whichever replica it runs; a word ends what runs in the process that it reaches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any, Final

from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crew_moe.surface.rates import caller_key
from mcp_server.auth import caller_in

METHOD: Final = "notifications/cancelled"
MAX_SLOW: Final = 8  # at a time: each takes a thread, and has crews' memory
LONGEST: Final = 10_000  # bytes; a cancellation is short
_STOPS: Final = "crew_moe.stops"


class Running:
    """Calls that go on, by who made them and the number that the client gave them. `slow` ones wait for a place."""

    def __init__(self) -> None:
        self.slow = CapacityLimiter(MAX_SLOW)
        self._stops: dict[tuple[str, str], list[Event]] = {}

    @contextmanager
    def going_on(self, who: str, number: str, stop: Event) -> Iterator[None]:
        """While this lasts, the call can be stopped."""
        stops = self._stops.setdefault((who, number), [])
        stops.append(stop)
        try:
            yield
        finally:
            stops.remove(stop)
            if not stops:
                self._stops.pop((who, number), None)

    def stop(self, who: str, number: str) -> None:
        """Stop a call. Where clients of the same caller have calls of the same number, nobody can say which is meant:
        then none is stopped.
        """
        stops = self._stops.get((who, number), [])
        if len(stops) == 1:
            stops[0].set()


class Cancellations:
    """ASGI: hears when a client hangs up, and what it says of its other calls; passes everything on."""

    def __init__(self, app: ASGIApp, running: Running) -> None:
        self._app = app
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        first = await receive()
        number = _cancelled(first.get("body", b""))
        if number is not None:
            self._running.stop(who_asks(scope), number)
        stops: list[Event] = []
        scope[_STOPS] = stops
        await self._app(scope, _heard(first, receive, stops), send)


@contextmanager
def stoppable(running: Running, request: Request, number: str, stop: Event) -> Iterator[None]:
    """While this lasts, the client of this request can stop it, by hanging up or by its word."""
    request.scope.get(_STOPS, []).append(stop)
    with running.going_on(who_asks(request.scope), number, stop):
        yield


def who_asks(scope: Mapping[str, Any]) -> str:
    """The caller and its address, in one word."""
    client = scope.get("client")
    address = client[0] if client else None
    return f"{caller_key(caller_in(scope), address)} {address}"


def _cancelled(body: bytes) -> str | None:
    """The number of the call that a notification cancels; None for any other message."""
    if len(body) > LONGEST or METHOD.encode() not in body:
        return None
    try:
        told: Any = json.loads(body)
    except ValueError:
        return None
    params = told.get("params") if isinstance(told, dict) and told.get("method") == METHOD else None
    number = params.get("requestId") if isinstance(params, dict) else None
    return None if number is None else str(number)


def _heard(first: Message, receive: Receive, stops: list[Event]) -> Receive:
    """What was received already, once more, and then the rest; when it is the end of the line, `stops` are set."""
    waiting = [first]

    async def receiving() -> Message:
        message = waiting.pop() if waiting else await receive()
        if message["type"] == "http.disconnect":
            for stop in stops:
                stop.set()
        return message

    return receiving
