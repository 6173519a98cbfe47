"""Chats sent over a number of connections at once, each the next one as soon as it has its answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmarks.load import request_bytes
from tests.benchmarks.measure import quantile

CHAT: Final = [{"role": "user", "content": "What do the figures of the last year say about the next one?"}]
WARM: Final = 10
"""Streams that are not counted: connections and caches come into being with them."""


@dataclass(frozen=True, slots=True)
class Load:
    """How a server did: answers per second, and how long they took, in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float


def request(port: int, model: str, *, stream: bool = False, headers: Mapping[str, str] | None = None) -> bytes:
    """One chat, ready to be sent."""
    fields: dict[str, Any] = {"model": model, "messages": CHAT, **({"stream": True} if stream else {})}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    return request_bytes(url, json.dumps(fields).encode(), headers or {})


async def load(port: int, content: bytes, *, connections: int, seconds: float) -> Load:
    """Send `content` over and over. Raises RuntimeError for an answer that is none."""
    until = time.perf_counter() + seconds
    began = time.perf_counter()
    taken = await asyncio.gather(*(_connection(port, content, until) for _ in range(connections)))
    passed = time.perf_counter() - began
    ordered = sorted(one for each in taken for one in each)
    return Load(len(ordered) / passed, quantile(ordered, 0.50) * 1e3, quantile(ordered, 0.99) * 1e3)


async def first_bytes(contents: Mapping[int, bytes], *, calls: int) -> dict[int, list[float]]:
    """Seconds from sending a request to the first event of its answer, by port; the ports take turns."""
    lines = {port: await asyncio.open_connection("127.0.0.1", port) for port in contents}
    taken: dict[int, list[float]] = {port: [] for port in contents}
    for number in range(calls + WARM):
        for port, (reader, writer) in lines.items():
            start = time.perf_counter()
            writer.write(contents[port])
            await reader.readuntil(b"data: ")
            passed = time.perf_counter() - start
            await reader.readuntil(b"0\r\n\r\n")
            if number >= WARM:
                taken[port].append(passed)
    for _, writer in lines.values():
        writer.close()
    return taken


async def _connection(port: int, content: bytes, until: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken = []
    try:
        while (start := time.perf_counter()) < until:
            writer.write(content)
            await _answer(reader)
            taken.append(time.perf_counter() - start)
    finally:
        writer.close()
    return taken


async def _answer(reader: asyncio.StreamReader) -> None:
    """Read one whole answer with a length."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"no answer: {head[:200]!r}")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
