"""The answer to one chat completion request, whole or streamed, for as long as its reader is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar, cast

from fastapi import Response
from starlette.types import Receive, Scope, Send

from crew_moe.domain.decision import Infeasible
from crew_moe.domain.outcome import Piece
from crew_moe.errors import CrewMoEError
from crew_moe.router import Router
from crew_moe.service.openai_api import bodies, notes
from crew_moe.service.openai_api.asked import Asked
from crew_moe.surface.fault import Fault, fault_of, refused

T = TypeVar("T")

JSON: Final = b"application/json"
EVENTS: Final = b"text/event-stream; charset=utf-8"


class Answering(Response):
    """Asks the router, and answers with what it gives. A reader that leaves ends the call in flight.

    A stream's status is that of its first piece: what goes wrong before it is an error as any other, what goes wrong
    behind it is the stream's last event.
    """

    def __init__(self, router: Router, asked: Asked) -> None:
        self._router = router
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's own
        await while_read(receive, self._stream(send) if self._asked.stream else self._whole(send))

    async def _whole(self, send: Send) -> None:
        asked = self._asked
        try:
            found = await self._router.acomplete(
                asked.request, asked.messages, principal=asked.principal, **asked.options
            )
        except CrewMoEError as error:
            await _fail(send, fault_of(error))
            return
        if isinstance(found, Infeasible):
            await _fail(send, refused(found))
            return
        note = notes.fallback_note(found.expert_id, found.attempts, local=asked.local)
        body = bodies.completion_body(found, created=self._created, note=note)
        await _send(send, 200, body, notes.headers(found.expert_id, found.decision_id, note, found.cost_usd))

    async def _stream(self, send: Send) -> None:
        asked = self._asked
        pieces = self._router.astream(asked.request, asked.messages, principal=asked.principal, **asked.options)
        async with aclosing(cast("AsyncGenerator[Piece | Infeasible, None]", pieces)) as coming:
            try:
                first = await anext(coming)
            except CrewMoEError as error:
                await _fail(send, fault_of(error))
                return
            if isinstance(first, Infeasible):
                await _fail(send, refused(first))
                return
            await self._pour(first, cast("AsyncGenerator[Piece, None]", coming), send)

    async def _pour(self, first: Piece, rest: AsyncGenerator[Piece, None], send: Send) -> None:
        note = notes.fallback_note(first.expert_id, first.before, local=self._asked.local)
        events = bodies.Events(first, created=self._created, note=note, wants_usage=self._asked.wants_usage)
        head = [(b"content-type", EVENTS), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        named = notes.headers(first.expert_id, first.decision_id, note)
        await send({"type": "http.response.start", "status": 200, "headers": head + named})
        await _chunk(send, events.of(first))
        try:
            async for piece in rest:
                await _chunk(send, events.of(piece))
        except CrewMoEError as error:
            await _chunk(send, bodies.error_event(fault_of(error)))
        await send({"type": "http.response.body", "body": b""})

    @property
    def _created(self) -> int:
        return int(self._router.clock.now().timestamp())


class Failing(Response):
    """An answer that is an error."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's own
        await _fail(send, self._fault)


async def while_read(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Do `work` as long as somebody waits for it; None where nobody did to the end."""
    working, left = asyncio.current_task(), False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        if working is not None:
            working.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if not left or (working is not None and working.uncancel() > 0):
            raise
        return None
    finally:
        watching.cancel()


async def _fail(send: Send, fault: Fault) -> None:
    """Whether to send it again is the router's to say: it has tried everybody already."""
    again = fault.retry_after_s
    headers = [(b"x-should-retry", b"false" if again is None else b"true")]
    if again is not None:
        headers.append((b"retry-after", str(max(1, round(again))).encode()))
    await _send(send, fault.status, bodies.error_body(fault), headers)


async def _send(send: Send, status: int, body: bytes, headers: notes.Headers) -> None:
    framed = [(b"content-type", JSON), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": framed})
    await send({"type": "http.response.body", "body": body})


async def _chunk(send: Send, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})
