"""WS /ws/routing: the live feed for those who may see it, one JSON text a message.

A connection goes so: the credential comes in the Authorization header, or, from a browser, as the first message
`{"token": "..."}` within five seconds; then a `ready` event tells the place in the feed, and events follow. What to
resume from and what to show stand in the URL (`?cursor=...&kinds=decision,breaker`) or in a message, the first or any
later one: `{"cursor": "...", "kinds": ["decision"]}`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import LOCAL, AccessScope, Caller, Unauthorized
from crew_moe.domain.feed import EVERYONE, Delivery, Ended, FeedKind, owner_of
from crew_moe.errors import InvalidRequest, StateError
from crew_moe.ports import Feed, Subscription

FIRST_MESSAGE_S: Final = 5.0
HEARTBEAT_S: Final = 15.0
SEND_S: Final = 10.0
FAREWELL_S: Final = 1.0
MAX_MESSAGE: Final = 16_384
MAX_CONNECTIONS: Final = 1000
MAX_OF_ONE: Final = 100
ALWAYS: Final = frozenset({FeedKind.READY, FeedKind.HEARTBEAT, FeedKind.GAP})
KINDS: Final = frozenset(FeedKind) - ALWAYS


class Code(IntEnum):
    """Why the server ends a connection."""

    GOING_AWAY = 1001
    OVERLOADED = 1013
    BAD_MESSAGE = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SLOW = 4408
    UNAVAILABLE = 4503


class Goodbye(Exception):
    """The connection ends with this code; `reason` repeats nothing that the client sent."""

    def __init__(self, code: Code, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class RoutingStream:
    """The endpoint. Without an authenticator everybody is LOCAL.

    A browser's page must be of an origin in `origins`, or of the host that it asks. `log_key` is the router's: by it
    the events of a tenant are known. Each connection holds no more than its place in the feed.
    """

    def __init__(
        self,
        feed: Feed,
        authenticator: Authenticator | None,
        *,
        origins: Collection[str] = (),
        log_key: bytes = b"",
        first_message_s: float = FIRST_MESSAGE_S,
        heartbeat_s: float = HEARTBEAT_S,
        send_s: float = SEND_S,
        max_connections: int = MAX_CONNECTIONS,
        max_of_one: int = MAX_OF_ONE,
    ) -> None:
        self.feed = feed
        self.log_key = log_key
        self.first_message_s = first_message_s
        self.heartbeat_s = heartbeat_s
        self.send_s = send_s
        self._authenticator = authenticator
        self._origins = frozenset(origins)
        self._max_connections = max_connections
        self._max_of_one = max_of_one
        self._held: Counter[tuple[str | None, str]] = Counter()
        self._open: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._closed = False

    async def __call__(self, websocket: WebSocket) -> None:
        if not self._may_ask(websocket):
            await websocket.close(Code.FORBIDDEN, "this origin is not allowed")  # before it is accepted: HTTP 403
            return
        await websocket.accept()
        if self._closed or len(self._open) >= self._max_connections:
            await _leave(websocket, Goodbye(Code.OVERLOADED, "too many connections"))
            return
        talk = asyncio.create_task(Conversation(self, websocket).hold())
        self._open.add(talk)
        self._empty.clear()
        try:
            await talk
        except WebSocketDisconnect:
            return
        except Goodbye as goodbye:
            await _leave(websocket, goodbye)
        except asyncio.CancelledError:
            talk.cancel()
            if not self._closed:
                raise
            await _leave(websocket, Goodbye(Code.GOING_AWAY, "the server stops"))
        finally:
            self._open.discard(talk)
            if not self._open:
                self._empty.set()

    async def close(self) -> None:
        """End every connection, with 1001; idempotent."""
        self._closed = True
        for talk in self._open:
            talk.cancel()
        if self._open:
            await asyncio.wait((asyncio.ensure_future(self._empty.wait()),), timeout=2 * FAREWELL_S)

    async def caller(self, *, header: str | None = None, api_key: str | None = None, token: str = "") -> Caller:
        """Who comes with this. Raises Goodbye for whom may not see the feed."""
        found: Caller | Unauthorized
        if self._authenticator is None:
            found = LOCAL
        elif header is not None or api_key is not None:
            found = await self._authenticator.aauthenticate(header, api_key=api_key)
        else:
            found = await self._authenticator.aauthenticate_credential(token)
        if isinstance(found, Unauthorized):
            raise Goodbye(Code.UNAUTHORIZED, f"credential_{found.code}")
        if not found.may(AccessScope.READ):
            raise Goodbye(Code.FORBIDDEN, f"this needs the scope {AccessScope.READ}")
        return found

    @contextmanager
    def counted(self, caller: Caller) -> Iterator[None]:
        """Nobody may take the place of all others. Raises Goodbye for whom has enough connections."""
        who = (caller.tenant, caller.subject)
        if self._held[who] >= self._max_of_one:
            raise Goodbye(Code.OVERLOADED, "too many connections")
        self._held[who] += 1
        try:
            yield
        finally:
            self._held[who] -= 1
            self._held += Counter()  # without those who have none left

    @property
    def asks(self) -> bool:
        """Whether callers have to say who they are."""
        return self._authenticator is not None and self._authenticator.enabled

    def _may_ask(self, websocket: WebSocket) -> bool:
        origin = websocket.headers.get("origin")
        return (
            origin is None or origin in self._origins or origin.partition("://")[2] == websocket.headers.get("host", "")
        )


class Conversation:
    """One connection, from its first message to its last."""

    def __init__(self, stream: RoutingStream, websocket: WebSocket) -> None:
        self._stream = stream
        self._socket = websocket
        self._header = websocket.headers.get("authorization")
        self._api_key = websocket.headers.get("x-api-key")
        self._token = ""
        self._cursor = websocket.query_params.get("cursor")
        self._kinds: frozenset[str] = frozenset()
        self._news: Subscription | None = None
        self._owner: str | None = None

    async def hold(self) -> None:
        """Talk until somebody ends it. Raises Goodbye or WebSocketDisconnect."""
        self._kinds = _kinds(self._socket.query_params.get("kinds", "").split(","))
        with self._stream.counted(await self._meet()):
            await self._talk()

    async def _talk(self) -> None:
        tasks = [asyncio.create_task(part) for part in (self._listen(), self._tell(), self._beat())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
        raise next((error for task in ended if (error := task.exception())), errors[0])

    async def _meet(self) -> Caller:
        """Who it is."""
        if self._stream.asks and self._header is None and self._api_key is None:
            try:
                async with asyncio.timeout(self._stream.first_message_s):
                    first = await self._heard()
            except TimeoutError:
                raise Goodbye(Code.UNAUTHORIZED, "credential_missing") from None
            token = first.get("token")
            self._token = token if isinstance(token, str) else ""
            self._take(first)
        return await self._check()

    async def _check(self) -> Caller:
        """The caller, who may still see the feed: keys are withdrawn, and tokens expire."""
        caller = await self._stream.caller(header=self._header, api_key=self._api_key, token=self._token)
        self._owner = None if caller.tenant is None else owner_of(caller.tenant, self._stream.log_key)
        return caller

    async def _listen(self) -> None:
        """Take what the client asks for, until it leaves."""
        while True:
            before = self._cursor
            self._take(await self._heard())
            if self._cursor is not before and self._news is not None:
                self._news.close()

    async def _heard(self) -> Mapping[str, Any]:
        """The client's next message. Raises Goodbye for what is none, and WebSocketDisconnect."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        return _read(message.get("text") or "")

    def _take(self, message: Mapping[str, Any]) -> None:
        """What to resume from, and what to show."""
        cursor, kinds = message.get("cursor"), message.get("kinds")
        if cursor is not None and not isinstance(cursor, str):
            raise Goodbye(Code.BAD_MESSAGE, "cursor: a text")
        if kinds is not None and not isinstance(kinds, list):
            raise Goodbye(Code.BAD_MESSAGE, "kinds: a list of texts")
        self._cursor = self._cursor if cursor is None else cursor
        self._kinds = self._kinds if kinds is None else _kinds(kinds)

    async def _tell(self) -> None:
        """Send events until the feed ends; from another place where the client asks for one."""
        while True:
            try:
                news = await self._stream.feed.subscribe(self._cursor)
            except InvalidRequest as error:
                raise Goodbye(Code.BAD_MESSAGE, f"cursor: {error.what}") from None
            except StateError:
                raise Goodbye(Code.UNAVAILABLE, "the feed can't be read now") from None
            self._news = news
            try:
                await self._mark(FeedKind.READY, news)
                async for delivery in news:
                    if self._shows(delivery):
                        await self._send(delivery.frame)
            finally:
                news.close()
            if news.ended is not None:
                raise _ENDS[news.ended]

    async def _beat(self) -> None:
        """Say from time to time that all is well, and look whether the caller may still listen."""
        while True:
            await asyncio.sleep(self._stream.heartbeat_s)
            await self._check()
            if self._news is not None:
                await self._mark(FeedKind.HEARTBEAT, self._news)

    def _shows(self, delivery: Delivery) -> bool:
        mine = self._owner is None or delivery.owner in (EVERYONE, self._owner)
        return mine and (not self._kinds or delivery.kind in self._kinds or delivery.kind in ALWAYS)

    async def _mark(self, kind: FeedKind, news: Subscription) -> None:
        at = datetime.now(UTC).isoformat()
        await self._send(Delivery(news.cursor, kind, EVERYONE, {"at": at}).frame)

    async def _send(self, frame: str) -> None:
        try:
            async with asyncio.timeout(self._stream.send_s):
                await self._socket.send_text(frame)
        except TimeoutError:
            raise Goodbye(Code.SLOW, "too slow") from None


_ENDS: Final = {
    Ended.SLOW: Goodbye(Code.SLOW, "too slow"),
    Ended.CLOSED: Goodbye(Code.GOING_AWAY, "the feed ends"),
}


async def _leave(websocket: WebSocket, goodbye: Goodbye) -> None:
    """Say why, if anybody still listens."""
    if websocket.application_state is WebSocketState.CONNECTED:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await websocket.close(goodbye.code, goodbye.reason)
        except (RuntimeError, TimeoutError, WebSocketDisconnect):
            return


def _read(text: str) -> Mapping[str, Any]:
    """A message of the client. Raises Goodbye for what is none."""
    try:
        message = json.loads(text) if len(text) <= MAX_MESSAGE else None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Goodbye(Code.BAD_MESSAGE, "a message is a JSON object with token, cursor or kinds")
    return message


def _kinds(names: Collection[object]) -> frozenset[str]:
    """The kinds of events that are named; none: all. Raises Goodbye for others."""
    asked = {str(name).strip() for name in names} - {""}
    if not asked <= KINDS:
        raise Goodbye(Code.BAD_MESSAGE, f"kinds: {', '.join(sorted(KINDS))}")
    return frozenset(asked)
