"""One HTTP/1.1 connection on the loop of whoever uses it: a request out, its answer in as it comes.

The parser is C (httptools) and there is no thread and no other library in between: a call that waits for a model has
most of its own work in here.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque
from typing import Final, cast

import httptools

HIGH_WATER: Final = 1024 * 1024
"""Bytes that may wait for their reader before the provider is held up."""


class LineBroke(Exception):
    """The connection ended, or what came over it is no HTTP."""


class Line(asyncio.Protocol):
    """A connection. One answer at a time: `ask`, then `head`, then `read` until it gives b""."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._news: asyncio.Future[None] | None = None
        self._asked = self._headed = self._over = self._stays = self._broken = self._held_up = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: the last answer is complete, and the other side is still there."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._broken or (self._asked and not self._over):
            return False
        return not _is_readable(transport.get_extra_info("socket"))

    @property
    def keeps(self) -> bool:
        """Whether the answer leaves the connection open."""
        return self._over and self._stays and not self._broken

    def ask(self, content: bytes) -> None:
        """Send a request."""
        if self._transport is None or self._broken:
            raise LineBroke
        self.status, self.headers = 0, {}
        self._asked, self._headed, self._over = True, False, False
        self._pieces.clear()  # of an answer that nobody read to its end
        self._flow_on()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(content)

    async def head(self) -> None:
        """Wait for status and headers. Raises LineBroke."""
        while not self._headed:
            await self._more()

    async def read(self) -> bytes:
        """The next piece of the body, as it was sent; b"" at its end. Raises LineBroke."""
        while not self._pieces:
            if self._over:
                return b""
            await self._more()
        piece = self._pieces.popleft()
        self._waiting -= len(piece)
        if not self._pieces:
            self._flow_on()
        return piece

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _more(self) -> None:
        if self._broken:
            raise LineBroke
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None

    def _flow_on(self) -> None:
        """Nothing waits any more: the provider may go on."""
        self._waiting = 0
        if self._held_up and self._transport is not None:
            self._transport.resume_reading()
        self._held_up = False

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # ---- what asyncio calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._over or not self._asked:  # nobody asked for this
            self._break()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break()
        self._tell()

    def eof_received(self) -> None:
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        if self._headed and not framed:
            self._over = True
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        self._broken = True
        self._tell()

    def _break(self) -> None:
        self._broken = True
        self.abort()

    # ---- what the parser calls ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._over:  # a second answer to one request; the parser stops at what is raised here
            raise LineBroke

    def on_header(self, name: bytes, value: bytes) -> None:
        key, told = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {told}" if key in self.headers else told

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._headed = self.status >= 200

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._waiting += len(body)
        if self._waiting > HIGH_WATER and not self._held_up and self._transport is not None:
            self._held_up = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._headed:
            self._over, self._stays = True, bool(self._parser.should_keep_alive())
        else:  # an interim answer, such as 103
            self.headers = {}


def _is_readable(found: socket.socket) -> bool:
    """Whether something came over an idle connection: its end, or what nobody asked for."""
    poll = select.poll()
    poll.register(found.fileno(), select.POLLIN)
    return bool(poll.poll(0))
