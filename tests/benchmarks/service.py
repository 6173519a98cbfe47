"""The HTTP service beside the least that the same app could do, with a token and a rate limit on every request."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx

from crew_moe.auth.caller import ALL_SCOPES
from tests.auth.issuing import bearer, token, write_public_key
from tests.benchmarks.figure import Figure
from tests.benchmarks.load import paced, request_bytes, saturate
from tests.benchmarks.measure import quantile

CONNECTIONS: Final = 16
BATCH: Final = 1_000
ASKED: Final[Mapping[str, Any]] = {
    "task_type": "code_generation",
    "text": "Implement the authentication API of the billing service, with tests. " * 3,
    "budget_usd": "0.01",
    "min_quality": 0.85,
    "requires": ["tools"],
}
GROUP: Final = "service: one worker, token and rate limit on (16 connections)"


def services(*, requests: int, rounds: int, steady: int) -> Iterator[Figure]:
    """/route and /route/batch beside no-ops, latency at half the peak, and memory over many requests."""
    with serving() as (url, headers, pid):
        single, many = json.dumps(ASKED).encode(), json.dumps({"requests": [dict(ASKED)] * BATCH}).encode()
        paths = {"route": single, "noop": single, "noop/bare": single}
        peaks = _rounds(url, headers, {path: (body, requests) for path, body in paths.items()}, rounds)
        peak = median(peaks["route"])
        latency = list(_latency(url, headers, single, rate=peak / 2, requests=max(1_000, requests // 2)))
        batches = {path: (many, max(20, requests // BATCH)) for path in ("route/batch", "noop/batch", "noop/echo")}
        bulk = _rounds(url, headers, batches, rounds)
        yield from _throughput(peaks, bulk)
        yield from latency
        yield from _memory(url, headers, single, pid, steady=steady)


def _throughput(peaks: Mapping[str, list[float]], bulk: Mapping[str, list[float]]) -> Iterator[Figure]:
    figure = partial(Figure, group=GROUP)
    yield figure(name="/route", value=median(peaks["route"]), unit="/s")
    yield figure(name="no-op that parses its body", value=median(peaks["noop"]), unit="/s")
    yield figure(name="/route over that no-op", value=_ratio(peaks, "route", "noop"), unit="x", at_least=0.8)
    bare = "reads its body and parses nothing; FastAPI's own work left out in both"
    yield figure(name="/route over a bare no-op", value=_ratio(peaks, "route", "noop/bare"), unit="x", note=bare)
    rows = median(bulk["route/batch"]) * BATCH
    yield figure(name=f"/route/batch, rows of {BATCH:,}", value=rows, unit="routes/s", at_least=10_000)
    ratio, read = _ratio(bulk, "route/batch", "noop/batch"), "reads the same bodies into requests, answers rows"
    yield figure(name="/route/batch over its no-op", value=ratio, unit="x", at_least=0.5, note=read)
    ratio, echo = _ratio(bulk, "route/batch", "noop/echo"), "parses and returns JSON, and validates nothing"
    yield figure(name="/route/batch over an echo", value=ratio, unit="x", note=echo)


def _ratio(seen: Mapping[str, list[float]], ours: str, other: str) -> float:
    """The median over rounds: both of one round ran side by side."""
    return median(one / two for one, two in zip(seen[ours], seen[other], strict=True))


def _rounds(
    url: str, headers: Mapping[str, str], paths: Mapping[str, tuple[bytes, int]], rounds: int
) -> dict[str, list[float]]:
    """Requests a second of each path, round by round; the first one only warms up."""
    seen: dict[str, list[float]] = {path: [] for path in paths}
    for number in range(rounds + 1):
        for path, (body, requests) in paths.items():
            place = f"{url}/api/v1/{path}" if path.startswith("route") else f"{url}/{path}"
            request = request_bytes(place, body, headers)
            rate = asyncio.run(saturate(place, request, connections=CONNECTIONS, requests=requests))
            if number:
                seen[path].append(rate)
    return seen


def _latency(url: str, headers: Mapping[str, str], body: bytes, *, rate: float, requests: int) -> Iterator[Figure]:
    place = f"{url}/api/v1/route"
    seen = sorted(asyncio.run(paced(place, request_bytes(place, body, headers), rate=rate, requests=requests)))
    figure = partial(Figure, group=GROUP, unit="ms", note=f"{rate:,.0f} requests/s")
    yield figure(name="/route at half of its peak, p50", value=quantile(seen, 0.50) * 1e3)
    yield figure(name="/route at half of its peak, p99", value=quantile(seen, 0.99) * 1e3, at_most=5.0)


def _memory(url: str, headers: Mapping[str, str], body: bytes, pid: int, *, steady: int) -> Iterator[Figure]:
    """Growth over the second half of many requests: the first half fills what is bounded."""
    place = f"{url}/api/v1/route"
    run = partial(saturate, place, request_bytes(place, body, headers), connections=CONNECTIONS, requests=steady // 2)
    asyncio.run(run())
    before = _rss_mib(pid)
    asyncio.run(run())
    note = f"of {steady:,}; resident {_rss_mib(pid):.0f} MiB"
    grown = _rss_mib(pid) - before
    yield Figure(group=GROUP, name="memory grown in the second half", value=grown, unit="MiB", at_most=4.0, note=note)


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4 / 1024


@contextmanager
def serving(base_url: str | None = None) -> Iterator[tuple[str, dict[str, str], int]]:
    """The measured service: its address, the headers that it takes, and its process id."""
    headers = {"Authorization": bearer(token(scope=" ".join(ALL_SCOPES)))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_public_key(folder)
        (folder / "answer.json").write_bytes(b'{"answer": "' + b"x" * 560 + b'"}')
        command = [sys.executable, "-m", "tests.benchmarks.service_worker", name, *([base_url] if base_url else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = str(server.stdout.readline()).strip() if server.stdout else ""
                httpx.post(f"{url}/api/v1/route", json=dict(ASKED), headers=headers).raise_for_status()
                yield url, headers, server.pid
            finally:
                server.terminate()
