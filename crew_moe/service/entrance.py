"""What a request passes before any route: its id, its host and origin, its caller and rate, its size, its time.

Each is an ASGI layer of its own; `app.py` puts them in order, outermost first. None of them reads a body.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final
from uuid import uuid4

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crew_moe.service.problem import Refused, problem
from crew_moe.surface.fault import Fault

REQUEST_ID: Final = "X-Request-ID"
_A_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
UNLIMITED: Final = ("/v1/chat/completions", "/process/sync", "/admin/reload-models", "/ws/")
"""Paths whose time is limited by what they do, not by the clock of a request."""


async def refuse(scope: Scope, send: Send, fault: Fault, headers: Mapping[str, str] | None = None) -> None:
    """Answer a request with a fault, and a WebSocket by not accepting it."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4400 + fault.status % 100, "reason": fault.code})
        return
    answer = problem(fault, instance=scope["path"], request_id=str(scope.get("request_id", "")), headers=headers)
    await answer(scope, _nothing, send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


class RequestIds:
    """Gives every request an id, its own if it brought one that can be shown, on the answer and on every log line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        brought = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = brought if _A_REQUEST_ID.fullmatch(brought) else uuid4().hex
        scope["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, named)


class Hosts:
    """Answers only requests to a host that is served, and from an origin that is allowed: a page that a browser was
    tricked into loading under another name (DNS rebinding) gets nothing.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        wrong = self._wrong(headers)
        if wrong is None:
            await self._app(scope, receive, send)
        else:
            await refuse(scope, send, wrong)

    def _wrong(self, headers: Headers) -> Fault | None:
        host = _name_of(headers.get("host", ""))
        if "*" not in self._hosts and host not in self._hosts:
            return Fault(code="wrong_host", status=421, what="this host is not served here", where="host")
        origin = headers.get("origin")
        if origin is None or origin in self._origins or _is_of(origin, headers.get("host", "")):
            return None
        return Fault(code="wrong_origin", status=403, what="this origin is not allowed", where="origin")


def _is_of(origin: str, host: str) -> bool:
    """Whether a page comes from the very host and port that it asks; another port may be anybody's."""
    return origin.partition("://")[2].lower() == host.lower()


def _name_of(host: str) -> str:
    """The host without its port."""
    return host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0].lower()


class BodySize:
    """Lets no body grow beyond `limit` bytes, whatever its length says."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "")
        if told.isdigit() and int(told) > self._limit:
            await refuse(scope, send, self._fault)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise Refused(self._fault)
            return message

        await self._app(scope, counted, send)

    @property
    def _fault(self) -> Fault:
        return Fault(
            code="too_large",
            status=413,
            what=f"the body has more than {self._limit:,} bytes",
            where="body",
            next_step="send less at once",
        )


class TimeLimit:
    """Ends a request that has not begun to answer after `seconds`. Calls of experts have limits of their own; only
    their bodies must have come by then.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(UNLIMITED):
            await self._app(scope, self._in_time(receive), send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self._seconds):
                await self._app(scope, receive, noted)
        except TimeoutError:
            if begun:
                raise
            await refuse(scope, send, self._fault("no answer"))

    def _in_time(self, receive: Receive) -> Receive:
        """As `receive`, which gives the body up after a while."""
        ends, whole = asyncio.get_running_loop().time() + self._seconds, False

        async def timely() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise Refused(self._fault("no whole body")) from None
            whole = not message.get("more_body", False)
            return message

        return timely

    def _fault(self, missed: str) -> Fault:
        told = f"{missed} within {self._seconds:g} seconds"
        return Fault(code="timeout", status=504, what=told, next_step="ask for less at once")


Admit = Callable[[Scope, Headers], Awaitable[Mapping[str, str]]]


class Door:
    """Asks `admit` who calls and whether there is room; what it gives is put on the answer's headers.

    Raises nothing: a Refused of `admit` becomes the answer. Paths in `open_paths` need nobody.
    """

    def __init__(self, app: ASGIApp, *, admit: Admit, open_paths: Iterable[str]) -> None:
        self._app = app
        self._admit = admit
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        try:
            told = await self._admit(scope, Headers(scope=scope))
        except Refused as refused:
            await refuse(scope, send, refused.fault, refused.headers)
            return

        rows = [(name.lower().encode(), value.encode()) for name, value in told.items()]

        async def with_rates(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *rows]
            await send(message)

        await self._app(scope, receive, with_rates)
