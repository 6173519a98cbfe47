"""WS /ws/routing: the live feed for those who may see it, one JSON text a message.

A connection goes so: the credential comes in the Authorization header, or, from a browser, as the first message
`{"token": "..."}` within five seconds; then a `ready` event tells the place in the feed, and events follow. What to
resume from and what to show stand in the URL (`?cursor=...&kinds=decision,breaker`) or in a message, the first or any
later one: `{"cursor": "...", "kinds": ["decision"]}`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import LOCAL, AccessScope, Caller, Unauthorized
from crew_moe.ports import Feed
from crew_moe.service.conversation import Code, Conversation, Goodbye

FIRST_MESSAGE_S: Final = 5.0
HEARTBEAT_S: Final = 15.0
SEND_S: Final = 10.0
FAREWELL_S: Final = 1.0
MAX_CONNECTIONS: Final = 1000
MAX_OF_ONE: Final = 100


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


async def _leave(websocket: WebSocket, goodbye: Goodbye) -> None:
    """Say why, if anybody still listens."""
    if websocket.application_state is WebSocketState.CONNECTED:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await websocket.close(goodbye.code, goodbye.reason)
        except (RuntimeError, TimeoutError, WebSocketDisconnect):
            return
