"""What the local gate's engine adds to its models, and what batches save."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from crew_moe.clock import SystemClock
from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import BatchSpec, CacheSpec, HostKind, HostSpec, LocalPlan
from crew_moe.domain.local_work import Asked, Processed
from crew_moe.local_gate.engine.batching import Batcher, Member
from crew_moe.local_gate.engine.workers import Workers
from crew_moe.local_gate.serving import LocalGate
from tests.benchmarks.figure import Figure
from tests.benchmarks.measure import quantile

WORKER: Final = "tests.benchmarks.local_serving_worker"
CALLERS: Final = 400
BATCH_S: Final = 0.01
SIZE: Final = 16
OUTPUT_TOKENS: Final = 8
NEVER: Final = 1e12


def local_serving(*, rounds: int, hits: int, requests: int) -> Iterator[Figure]:
    """The batcher beside its floor, batches beside single calls, cache hits, memory over many requests, cold start."""
    yield from _floor(rounds)
    yield from _speed_up(rounds)
    yield from _hits(hits)
    yield from _fresh_process(requests)


def _floor(rounds: int) -> Iterator[Figure]:
    """All callers at once, over a host that takes as long for one text as for a batch; the floor is the same number of
    full batches, one after the other, without a batcher.
    """
    ratios = []
    for _ in range(rounds):
        floor_s = _seconds(_bare)
        ratios.append(asyncio.run(_batched()) / floor_s)
    note = f"{CALLERS} callers at once, batches of {SIZE} that take {BATCH_S * 1e3:.0f} ms each; wall time"
    yield Figure(
        group="local gate: serving", name="batcher / its floor", value=median(ratios), unit="x", at_most=1.1, note=note
    )


def _bare() -> None:
    for _ in range(CALLERS // SIZE):
        time.sleep(BATCH_S)


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _sleep(_: None, __: str, members: Sequence[Member[int, int]]) -> list[int]:
    time.sleep(BATCH_S)
    return [member.item for member in members]


async def _batched() -> float:
    """Seconds from the first call to the last answer."""
    workers = Workers("bench")
    batcher: Batcher[None, int, int] = Batcher(
        "bench", _nothing, _sleep, spec=BatchSpec(max_size=SIZE, queue=CALLERS), clock=SystemClock(), workers=workers
    )
    ask = partial(batcher.ask, kind="process", tokens=10, tier=Tier.BASELINE, deadline=NEVER)
    await ask(0)  # the thread is there
    began = time.perf_counter()
    answers = await asyncio.gather(*(ask(number) for number in range(CALLERS)))
    seconds = time.perf_counter() - began
    assert answers == list(range(CALLERS))
    await batcher.aclose()
    workers.close(within_s=10.0)
    return seconds


def _speed_up(rounds: int) -> Iterator[Figure]:
    """The same callers and the same tiny model, batched and one by one."""
    import torch

    from tests.local_gate.hosts.tiny_models import byt5

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = byt5(Path(folder))
        gates = {size: _gate_over(path, size) for size in (SIZE, 1)}
        ratios = []
        for number in range(rounds + 1):
            took = {size: _seconds(partial(asyncio.run, _everybody(gate))) for size, gate in gates.items()}
            if number:  # the first round loads the model
                ratios.append(took[1] / took[SIZE])
        for gate in gates.values():
            gate.close()
    note = f"{CALLERS} callers at once, a ByT5 of a few thousand weights, {OUTPUT_TOKENS} tokens each, one thread"
    yield Figure(
        group="local gate: serving",
        name="throughput batched / one by one",
        value=median(ratios),
        unit="x",
        at_least=5.0,
        note=note,
    )


def _gate_over(path: Path, size: int) -> LocalGate:
    spec = HostSpec(name="byt5", kind=HostKind.BYT5, path=path, device="cpu", max_output_tokens=OUTPUT_TOKENS)
    batch = BatchSpec(max_size=size, queue=CALLERS)
    return LocalGate.open(LocalPlan(hosts={"byt5": spec}, batch=batch, cache=CacheSpec(results=0), timeout_s=600.0))


async def _everybody(gate: LocalGate) -> None:
    asked = (Asked(text=f"text {number:03d}", expert="byt5", flexible=False) for number in range(CALLERS))
    answers = await asyncio.gather(*map(gate.process, asked))
    assert all(answer.ok for answer in answers), next(answer for answer in answers if not answer.ok)


def _hits(calls: int) -> Iterator[Figure]:
    plan = LocalPlan(hosts={"extractive": HostSpec(name="extractive", kind=HostKind.EXTRACTIVE)})
    gate = LocalGate.open(plan)
    asked = Asked(text="The pump failed at noon. Nobody saw it, and the door stayed open. " * 30)
    samples = asyncio.run(_repeated(gate, asked, calls))
    gate.close()
    figure = partial(Figure, group="local gate: serving", unit="ms")
    note = f"wall time, a text of {len(asked.text):,} characters, the gate's choice included"
    yield figure(name="cache hit p50", value=quantile(samples, 0.5) * 1e3, at_most=1.0, note=note)
    yield figure(name="cache hit p99", value=quantile(samples, 0.99) * 1e3, note=note)


async def _repeated(gate: LocalGate, asked: Asked, calls: int) -> list[float]:
    """Sorted seconds of the same question, once it is remembered."""
    await gate.process(asked)
    samples = []
    for _ in range(calls):
        began = time.perf_counter()
        answer = await gate.process(asked)
        samples.append(time.perf_counter() - began)
        assert isinstance(answer, Processed)
        assert answer.cached
    return sorted(samples)


def _fresh_process(requests: int) -> Iterator[Figure]:
    done = subprocess.run([sys.executable, "-m", WORKER, str(requests)], check=True, capture_output=True, text=True)
    seen = json.loads(done.stdout)
    figure = partial(Figure, group="local gate: serving")
    note = "a fresh process, after its imports: opened, its health told, no model loaded"
    yield figure(name="cold start", value=seen["start_s"], unit="s", at_most=1.0, note=note)
    note = f"RSS, second half of {requests:,} requests, no two alike, whole and in pieces"
    growth = seen["after_mib"] - seen["half_mib"]
    yield figure(name="memory after them", value=seen["after_mib"], unit="MiB", note="RSS")
    yield figure(name="  growth", value=growth, unit="MiB", at_most=2.0, note=note)
    note = "Python objects, in the same half"
    yield figure(name="  growth of objects", value=seen["grown_objects"], unit="objects", at_most=100.0, note=note)


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
