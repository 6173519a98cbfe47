"""A provider that answers every chat at once with the same bytes: as a program, in a process of its own.

It reads no JSON and makes none, so that it is never what a measurement waits for. Prints its port; ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

HEAD_END: Final = b"\r\n\r\n"
MODEL: Final = "fast"
WORDS: Final = ("The", " figures", " say", " that", " it", " goes", " well", ".")
_HEAD: Final = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": MODEL}
USAGE: Final = {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "".join(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {**_HEAD, "object": "chat.completion.chunk", "choices": [choice], **more}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _chunks() -> list[bytes]:
    events = [_event({"role": "assistant", "content": WORDS[0]}), *(_event({"content": word}) for word in WORDS[1:])]
    events += [_event({}, "stop", usage=USAGE), b"data: [DONE]\n\n"]
    return [b"%x\r\n%s\r\n" % (len(event), event) for event in events]


WHOLE: Final = _whole()
STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS: Final = _chunks()


class Provider(asyncio.Protocol):
    """One connection. Knows a stream by the word in its request."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(HEAD_END)) >= 0:
            head = self._buffer[:end].lower()
            start = end + len(HEAD_END)
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._buffer) < start + length:
                return
            body, self._buffer = self._buffer[start : start + length], self._buffer[start + length :]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if self._transport is None:
            return
        if b'"stream":true' not in body and b'"stream": true' not in body:
            self._transport.write(WHOLE)
            return
        self._transport.write(STREAM_HEAD + CHUNKS[0])
        for chunk in CHUNKS[1:]:
            self._transport.write(chunk)
        self._transport.write(b"0\r\n\r\n")


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
