"""One connection of the live feed, from its first message to its last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from crew_moe.auth.caller import Caller
from crew_moe.domain.feed import EVERYONE, Delivery, Ended, FeedKind, owner_of
from crew_moe.errors import InvalidRequest, StateError
from crew_moe.ports import Subscription

if TYPE_CHECKING:
    from crew_moe.service.stream import RoutingStream

GONE: Final = 1006
MAX_MESSAGE: Final = 16_384
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


class Conversation:
    """What is said over one WebSocket, which has been accepted."""

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
        except RuntimeError:  # the server's word for a client that has just left
            raise WebSocketDisconnect(GONE) from None


_ENDS: Final = {
    Ended.SLOW: Goodbye(Code.SLOW, "too slow"),
    Ended.CLOSED: Goodbye(Code.GOING_AWAY, "the feed ends"),
}


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
