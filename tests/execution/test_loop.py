"""A loop in a thread of its own serves everybody and leaves nobody waiting."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_moe.execution.loop import LoopThread
from crew_moe.execution.wire import Wire
from tests.execution.raw import answer as answer_with
from tests.execution.raw import raw

ROOT = Path(__file__).parents[2]


class Closed(Exception):
    """What the loops of these tests give to work that they don't finish."""


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread("test", closed=Closed)
    yield made
    made.stop()


async def hang() -> None:
    await asyncio.Future[None]()


async def answer() -> int:
    return 42


def test_work_runs_in_the_loops_thread(loop: LoopThread) -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert loop.submit(where()).result(5) == "test"


def test_cancelled_future_cancels_its_work(loop: LoopThread) -> None:
    ended = threading.Event()

    async def work() -> None:
        try:
            await hang()
        finally:
            ended.set()

    future = loop.submit(work())
    loop.submit(answer()).result(5)
    future.cancel()

    assert ended.wait(5)


def test_stop_ends_what_runs_and_refuses_what_comes(loop: LoopThread) -> None:
    hanging = loop.submit(hang())
    loop.stop()

    assert isinstance(hanging.exception(5), Closed)
    assert isinstance(loop.submit(answer()).exception(5), Closed)
    assert not loop.alive


def test_stop_awaits_the_cleanups_and_may_be_repeated(loop: LoopThread) -> None:
    ended: list[str] = []

    async def cleanup() -> None:
        ended.append(threading.current_thread().name)

    loop.at_end(cleanup)
    loop.stop()
    loop.stop()

    assert ended == ["test"]


def test_loop_may_be_stopped_from_within(loop: LoopThread) -> None:
    async def stop() -> None:
        loop.stop()

    loop.submit(stop()).exception(5)

    assert not loop.alive


def test_work_given_while_it_stops_never_hangs() -> None:
    for _ in range(20):
        loop = LoopThread("test", closed=Closed)
        stopping = threading.Thread(target=loop.stop)
        stopping.start()
        futures = [loop.submit(answer()) for _ in range(20)]
        stopping.join()

        assert all(isinstance(future.exception(5), Closed) or future.result(5) == 42 for future in futures)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_of_this_machine_is_asked_past_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    wire = Wire()
    with raw(answer_with({"said": "here"})) as server:
        url = server.url.replace("127.0.0.1", host)
        asked = wire.exchange(url, headers={}, content=b"{}", deadline=time.monotonic() + 10)
        assert b"here" in asked.fetch().result(10)
    wire.close()


def test_wire_that_nobody_holds_ends_its_thread() -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "crew-moe-http"]

    before = len(threads())
    wire = Wire()
    wire.exchange("http://127.0.0.1:9", headers={}, content=b"", deadline=0.0)
    gone = weakref.ref(wire)
    assert len(threads()) == before + 1
    del wire
    gc.collect()

    assert gone() is None
    assert len(threads()) == before


def test_forked_child_calls_over_a_loop_of_its_own() -> None:
    said = {"choices": [{"message": {"content": "Paris."}, "finish_reason": "stop"}]}
    with raw(*[answer_with(said)] * 3) as server:
        command = [sys.executable, "-m", "tests.execution.forking", server.url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.received) == 3
