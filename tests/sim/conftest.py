"""A client that talks to the simulated providers as anybody's would: plain httpx."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from crew_moe.catalog import load_registry
from crew_moe.domain.registry import Registry
from crew_moe.sim import Simulation, simulate

Ask = Callable[..., httpx.Response]


class FakeClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 3, 12, 6, 0, tzinfo=UTC) + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return 1_000.0 + self.elapsed_s


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_registry()


@pytest.fixture
def sim(registry: Registry) -> Iterator[Simulation]:
    """Providers that answer at once and never fail."""
    with simulate(registry=registry, speed=0) as running:
        yield running


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads change every microsecond, so that what is not atomic shows."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def _ask(url: str, model: str = "gpt-4o", text: str = "Hi", *, timeout: float = 10.0, **body: Any) -> httpx.Response:
    messages = [{"role": "user", "content": text}]
    return httpx.post(f"{url}/chat/completions", json={"model": model, "messages": messages, **body}, timeout=timeout)


@pytest.fixture
def ask() -> Ask:
    """One chat request: `ask(base_url, model, text, timeout=..., **body)`."""
    return _ask
