"""Chat completions over HTTP: what our service adds to a provider's own time, and how much it carries.

Each figure is a median over rounds in which the contenders take turns, so that a busy machine disturbs them alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.chat_load import Load, first_bytes, load, request
from tests.benchmarks.chat_servers import litellm_proxy, provider, service
from tests.benchmarks.figure import Figure

MODEL: Final = "gpt-4o"
CONNECTIONS: Final = 16


def chats(litellm_python: Path | None, *, rounds: int, seconds: float) -> Iterator[Figure]:
    """Time to the first streamed byte, then throughput beside litellm's proxy. Raises PeerError."""
    with provider() as provider_port, service(provider_port) as (ours, own_key):
        yield from _first_bytes(provider_port, ours, own_key, calls=rounds * 40)
        with litellm_proxy(litellm_python, provider_port, model=MODEL) as (theirs, key):
            yield from _throughput(
                {
                    "crew-moe serve": partial(_load, ours, seconds, Authorization=f"Bearer {own_key}"),
                    "litellm's proxy": partial(_load, theirs, seconds, Authorization=f"Bearer {key}"),
                },
                rounds,
            )


def _first_bytes(provider_port: int, ours: int, key: str, *, calls: int) -> Iterator[Figure]:
    """One stream after the other, alternately from the provider itself and through the service."""
    headers = {"Authorization": f"Bearer {key}"}
    contents = {port: request(port, MODEL, stream=True, headers=headers) for port in (provider_port, ours)}
    taken = asyncio.run(first_bytes(contents, calls=calls))
    own_ms, through_ms = median(taken[provider_port]) * 1e3, median(taken[ours]) * 1e3
    figure = partial(Figure, group="HTTP: time to the first streamed byte", unit="ms")
    yield figure(name="the provider's own", value=own_ms, note="wall p50")
    yield figure(name="through the service", value=through_ms, note="wall p50, connections kept")
    yield figure(name="  added", value=through_ms - own_ms, at_most=5.0)


def _throughput(contenders: Mapping[str, Callable[[], Load]], rounds: int) -> Iterator[Figure]:
    seen: dict[str, list[Load]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            done = contender()
            if number:  # the first round only warms up
                seen[name].append(done)
    ours, theirs = (_median(loads) for loads in seen.values())
    figure = partial(Figure, group=f"HTTP: chat completions, one worker, {CONNECTIONS} connections, the same provider")
    for name, done in zip(contenders, (ours, theirs), strict=True):
        yield figure(name=name, value=done.per_s, unit="1/s", note=f"p50 {done.p50_ms:.1f} ms")
        yield figure(name="  slowest of a hundred", value=done.p99_ms, unit="ms", note="p99")
    yield figure(name="ours / theirs", value=ours.per_s / theirs.per_s, unit="x", at_least=5.0)
    yield figure(name="their p99 / ours", value=theirs.p99_ms / ours.p99_ms, unit="x", at_least=1.0)


def _load(port: int, seconds: float, **headers: str) -> Load:
    content = request(port, MODEL, headers=headers)
    return asyncio.run(load(port, content, connections=CONNECTIONS, seconds=seconds))


def _median(loads: list[Load]) -> Load:
    return Load(*(median(getattr(one, name) for one in loads) for name in ("per_s", "p50_ms", "p99_ms")))
