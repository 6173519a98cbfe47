"""What a suggestion costs over MCP, beside a tool of the same server that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any, Final

import httpx

from tests.benchmarks.figure import Figure
from tests.benchmarks.material import text_of
from tests.benchmarks.mcp_worker import NOTHING
from tests.benchmarks.measure import quantile

SUGGEST: Final = "suggest_route"
ACCEPT: Final = "application/json, text/event-stream"
WARM_UP: Final = 20


def mcp_calls(*, calls: int) -> Iterator[Figure]:
    """Calls of both tools in turns, one at a time over one connection, authenticated and counted; wall time."""
    took_ms: dict[str, list[float]] = {NOTHING: [], SUGGEST: []}
    with _serving() as (url, token), httpx.Client(headers={"Accept": ACCEPT, "Authorization": token}) as client:
        for number in range(calls + WARM_UP):
            for tool, samples in took_ms.items():
                spent_ms = _call_ms(client, url, tool, number)
                if number >= WARM_UP:
                    samples.append(spent_ms)
    figure = partial(Figure, group="MCP over HTTP: one call at a time, token and rate limit on", unit="ms")
    nothing_ms, suggest_ms = (median(samples) for samples in took_ms.values())
    yield figure(name="a tool that does nothing", value=nothing_ms, note="wall p50")
    yield figure(name="suggest_route", value=suggest_ms, note="wall p50, 200 characters")
    yield figure(name="  p99", value=quantile(sorted(took_ms[SUGGEST]), 0.99))
    yield figure(name="  over the tool that does nothing", value=suggest_ms / nothing_ms, unit="x", at_most=1.3)


def _call_ms(client: httpx.Client, url: str, tool: str, number: int) -> float:
    params = {"name": tool, "arguments": {"text": text_of(200, number), "task_type": "code_generation"}}
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    began = time.perf_counter()
    answer = client.post(url, json=body)
    took_ms = (time.perf_counter() - began) * 1e3
    if '"isError":false' not in answer.text:
        raise RuntimeError(f"{tool} did not answer: {answer.status_code} {answer.text[:300]}")
    return took_ms


@contextmanager
def _serving() -> Iterator[tuple[str, str]]:
    """The worker's address and the Authorization header that it takes."""
    command = [sys.executable, "-m", "tests.benchmarks.mcp_worker"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        try:
            if worker.stdout is None:
                raise RuntimeError("the worker has no stdout")
            url, token = worker.stdout.readline().split()
            yield url, f"Bearer {token}"
        finally:
            worker.terminate()
