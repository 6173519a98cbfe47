"""The service holds no more after 200,000 requests than after 20,000."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.service.program import Program, serving

pytestmark = pytest.mark.soak

WARM: Final = 20_000
"""So many fill what is kept on purpose: the newest 10,000 decisions, caches, counters."""
REQUESTS: Final = 200_000
CONNECTIONS: Final = 8
MAY_GROW_MB: Final = 5.0


def request_of(number: int) -> bytes:
    """Request of that number: no two alike, and some that are refused."""
    fields = {"text": f"Summarise note {number} of Monday's meeting.", "user": f"u{number}", "run_id": f"r{number}"}
    path, body = "/api/v1/route", fields
    if number % 50 == 1:
        path = f"/api/v1/decisions/d-{number}"
    if number % 50 == 2:
        body = {**fields, f"field{number}": "unknown"}
    sent = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: q{number}\r\nContent-Length: {len(sent)}\r\n\r\n"
    return head.encode() + sent


async def ask(address: tuple[str, int], numbers: range) -> None:
    """These requests over one connection, one after the other."""
    reader, writer = await asyncio.open_connection(*address)
    for number in numbers:
        writer.write(request_of(number))
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        assert head[9:12] in (b"200", b"405", b"422"), head
    writer.close()
    await writer.wait_closed()


async def load(url: str, first: int, count: int) -> None:
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    address = place.hostname, place.port
    shares = [range(first + number, first + count, CONNECTIONS) for number in range(CONNECTIONS)]
    await asyncio.gather(*(ask(address, share) for share in shares))


def resident_mb(program: Program) -> float:
    lines = Path(f"/proc/{program.process.pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def test_memory_is_flat(tmp_path: Path) -> None:
    with serving(tmp_path, "--rate", "1000000/second") as program:
        await load(program.url, 0, WARM)
        before = resident_mb(program)
        await load(program.url, WARM, REQUESTS)
        after = resident_mb(program)

    print(f"{before:.1f} MB after {WARM:,} requests, {after:.1f} MB after {WARM + REQUESTS:,}")  # noqa: T201 - the figure
    assert after - before < MAY_GROW_MB
