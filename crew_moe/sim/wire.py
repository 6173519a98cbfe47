"""One client's connection: HTTP/1.1 by h11 over asyncio streams, down to the TCP reset."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Final

import h11

from crew_moe.sim.answer import Answer, Ending

READ_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 64_000_000
_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends a reset in place of the orderly end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """Method, path without query, lower-case headers, body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class TooLarge(Exception):
    """The body passes MAX_BODY_BYTES."""


class Wire:
    """Reads requests and plays answers. `serving` names the subjects of the request under way, for `kill`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)
        self.serving: frozenset[str] = frozenset()

    async def request(self) -> HttpRequest | None:
        """The next request; None when the client has gone. Raises h11.RemoteProtocolError for what is no HTTP."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        head, body = None, bytearray()
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    raise TooLarge
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    async def play(self, answer: Answer) -> bool:
        """Send an answer as it says; whether the connection can serve another request."""
        await asyncio.sleep(answer.delay_s)
        if answer.status is not None:
            await self._send_pieces(answer, answer.status)
        if answer.ending is Ending.HANG:
            await self._reader.read()
        if answer.ending is Ending.RESET:
            self.reset()
        return answer.ending is Ending.KEEP and self._http.our_state is h11.DONE

    def reset(self) -> None:
        """Tear the connection down; the client sees a reset."""
        held = self._writer.get_extra_info("socket")
        if not self._writer.transport.is_closing():
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._writer.transport.abort()

    def close(self) -> None:
        """Close in order: what was written still leaves."""
        self._writer.close()

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            if self._http.they_are_waiting_for_100_continue:
                self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._reader.read(READ_BYTES))

    async def _send_pieces(self, answer: Answer, status: int) -> None:
        framing = ("transfer-encoding", "chunked") if answer.length is None else ("content-length", str(answer.length))
        headers = [("content-type", answer.content_type), framing, *answer.headers]
        await self._send(h11.Response(status_code=status, headers=headers))
        for index, piece in enumerate(answer.pieces):
            if index:
                await asyncio.sleep(answer.gap_s)
            await self._send(h11.Data(data=piece))
        if answer.ending is Ending.KEEP:
            await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()


def _request(head: h11.Request, body: bytes) -> HttpRequest:
    return HttpRequest(
        method=head.method.decode("ascii"),
        path=head.target.decode("ascii").partition("?")[0],
        headers={name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
        body=body,
    )
