"""The local gate's beginning and end, its threads, and its models meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from crew_moe.domain.hosting import CacheSpec, LocalPlan
from crew_moe.domain.local_work import Asked, Loaded, Trouble
from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import (
    FixedGate,
    Held,
    Upper,
    as_host,
    opened,
    processed,
    refusal,
    spec,
)
from tests.waiting import until


async def test_close_lets_end_what_runs_and_leaves_no_thread(upper: Upper) -> None:
    before = set(threading.enumerate())
    held = Held()
    upper.act = held
    local = opened(upper)
    running = asyncio.ensure_future(local.process(Asked(text="running")))
    await asyncio.to_thread(held.began.wait, 30.0)
    waiting = asyncio.ensure_future(local.process(Asked(text="waiting")))
    await asyncio.to_thread(until, lambda: local.health().queues["upper"] == 1)
    closing = asyncio.ensure_future(local.aclose())
    refused = refusal(await waiting)
    held.go.set()
    await closing
    await local.aclose()

    assert (processed(await running).result, refused.trouble) == ("RUNNING", Trouble.UNAVAILABLE)
    assert refusal(await local.process(Asked(text="late"))).trouble is Trouble.UNAVAILABLE
    assert [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("local")] == []
    assert local.health().closed


async def test_close_does_not_wait_for_ever_for_a_model_that_hangs(upper: Upper) -> None:
    held = Held()
    upper.act = held
    local = opened(upper, timeout_s=0.05)
    assert refusal(await local.process(Asked(text="hello"))).trouble is Trouble.TIMEOUT
    await local.aclose()
    held.go.set()

    assert local.health().closed


def test_gate_that_nobody_asked_starts_no_thread(upper: Upper) -> None:
    before = threading.active_count()
    local = opened(upper)
    health = local.health()
    local.close()

    assert (threading.active_count(), upper.loads, health.hosts["upper"].state) == (before, 0, Loaded.COLD)


async def test_reload_swaps_the_model_and_says_what_failed(local: LocalGate, upper: Upper) -> None:
    await local.process(Asked(text="hello"))
    done = await local.reload(["upper", "upperr"])

    assert done["upper"] is None
    assert refusal(done["upperr"]).trouble is Trouble.UNKNOWN_EXPERT
    assert processed(await local.process(Asked(text="hello"))).model_version == "v2"
    assert upper.loads == 2


async def test_reload_that_hangs_is_told_of_the_close(upper: Upper) -> None:
    held = Held()
    local = opened(upper, timeout_s=0.05)
    upper.load = lambda: held([])  # type: ignore[method-assign]
    reloading = asyncio.ensure_future(local.reload(["upper"]))
    await asyncio.to_thread(held.began.wait, 30.0)
    await local.aclose()
    held.go.set()

    assert refusal((await reloading)["upper"]).trouble is Trouble.UNAVAILABLE


async def test_warm_experts_are_loaded_at_the_start(upper: Upper) -> None:
    cold = Upper("cold")
    hosts = {"upper": spec("upper", warm=True), "cold": spec("cold")}
    own = {"upper": as_host(upper), "cold": as_host(cold)}
    local = LocalGate.open(LocalPlan(hosts=hosts), hosts=own, gate=FixedGate(["upper", "cold"]))
    await local.warm()
    await local.aclose()

    assert (upper.loads, cold.loads) == (1, 0)


def test_threads_and_loops_share_one_gate(upper: Upper) -> None:
    local = opened(upper)
    with ThreadPoolExecutor(8) as threads:
        by_call = [threads.submit(local.call, Asked(text=f"call {n}")) for n in range(40)]
        by_loop = [threads.submit(asyncio.run, local.process(Asked(text=f"loop {n}"))) for n in range(40)]
        results = {str(processed(future.result()).result) for future in (*by_call, *by_loop)}
    local.close()

    assert results == {f"{way} {n}" for way in ("CALL", "LOOP") for n in range(40)}


async def test_requests_leave_no_tasks_behind(local: LocalGate) -> None:
    before = len(asyncio.all_tasks())
    for n in range(20):
        await local.process(Asked(text=f"hello {n}"))

    assert len(asyncio.all_tasks()) == before


async def test_gate_that_hosts_nobody_says_so() -> None:
    local = opened()

    assert refusal(await local.process(Asked(text="hello"))).trouble is Trouble.UNAVAILABLE
    await local.aclose()


@pytest.mark.accept
async def test_ten_thousand_requests_leave_nothing_behind(upper: Upper) -> None:
    local = opened(upper, cache=CacheSpec(results=100, embeddings=100, similarity=0.999))
    upper.batches, upper.works = deque(maxlen=1), deque(maxlen=1)  # type: ignore[assignment]

    async def half(first: int) -> int:
        for start in range(first, first + 5_000, 50):
            await asyncio.gather(*(local.process(Asked(text=f"{n:06d}")) for n in range(start, start + 50)))
        gc.collect()
        return len(gc.get_objects())

    grown = -await half(0) + await half(5_000)
    await local.aclose()

    assert grown < 1_000
