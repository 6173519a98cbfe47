"""Starting and stopping: nothing is left behind, nothing is shared."""

from __future__ import annotations

import gc
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from crew_moe.domain.registry import Registry
from crew_moe.errors import MissingExtra, SimulationError
from crew_moe.sim import Simulation, simulate

Ask = Callable[..., httpx.Response]


def open_sockets() -> int:
    gc.collect()
    return len([entry for entry in Path("/proc/self/fd").iterdir() if _points_to_a_socket(entry)])


def _points_to_a_socket(entry: Path) -> bool:
    try:
        return str(entry.readlink()).startswith("socket:")
    except OSError:
        return False


def test_stopping_leaves_no_thread_and_no_socket(registry: Registry, ask: Ask) -> None:
    threads, sockets = set(threading.enumerate()), open_sockets()
    with simulate({"rules": [{"expert": "o1", "error": "timeout"}]}, registry=registry, speed=0) as sim:
        ask(sim.base_url)
        with pytest.raises(httpx.ReadTimeout):
            ask(sim.base_url, "o1", timeout=0.05)
        sim.kill("anthropic")

    assert set(threading.enumerate()) == threads
    assert open_sockets() == sockets


def test_stopping_in_the_middle_of_a_call_does_not_wait_for_it(registry: Registry) -> None:
    sim = simulate({"rules": [{"latency_ms": 600_000}]}, registry=registry).start()
    with socket.create_connection(("127.0.0.1", httpx.URL(sim.base_url).port or 0)) as raw:
        body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}'
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        sim.wait_for_requests(1)
        sim.stop()
        with pytest.raises(ConnectionResetError):
            raw.recv(1)


def test_stopped_simulation_keeps_its_requests_but_has_no_address(registry: Registry, ask: Ask) -> None:
    with simulate(registry=registry, speed=0) as sim:
        ask(sim.base_url)
    sim.stop()

    assert len(sim.requests) == 1
    for use in (lambda: sim.base_url, lambda: sim.kill("openai"), sim.start):
        with pytest.raises(SimulationError):
            use()


def test_two_simulations_do_not_share_ports(registry: Registry) -> None:
    with simulate(registry=registry) as first, simulate(registry=registry) as second:
        urls = {running.base_url_of(name) for running in (first, second) for name in registry.providers}

    assert len(urls) == 2 * len(registry.providers)


def test_taken_port_is_an_error_that_leaves_nothing_behind(registry: Registry) -> None:
    threads = set(threading.enumerate())
    with simulate(registry=registry) as first:
        port = httpx.URL(first.base_url).port or 0
        with pytest.raises(SimulationError, match=f"can't listen on 127.0.0.1:{port}"):
            simulate(registry=registry, port=port).start()

    assert set(threading.enumerate()) == threads


def test_dead_port_is_not_given_to_others(sim: Simulation) -> None:
    port = httpx.URL(sim.base_url_of("openai")).port or 0
    sim.kill("openai")

    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_missing_summa_is_told_at_the_start(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "summa", None)
    monkeypatch.delitem(sys.modules, "summa.summarizer", raising=False)

    with pytest.raises(MissingExtra):
        simulate(registry=registry).start()
