"""What the contract suites of the meters share: where meters lie, and short words for what is asked of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from crew_moe.domain.meter import Busy, Demand, Passage, Rate
from crew_moe.ports import Meters
from crew_moe.state import open_meters
from tests.state.given import NOW

KEY: Final = "expert:gpt-4o"
OTHER: Final = "expert:o1"
USER: Final = "cooldown:ask:user:7"
THREADS: Final = 8


@pytest.fixture(params=["memory", "sqlite", "redis"])
def meters(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Meters]:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    opened = open_meters(here.get(request.param) or request.getfixturevalue("redis_url"))
    yield opened
    opened.close()


def per_minute(capacity: float, amount: float = 1.0, name: str = "requests") -> Rate:
    return Rate(name=name, capacity=capacity, per_s=60.0, amount=amount)


def ask(*rates: Rate, key: str = KEY, places: int | None = None) -> Demand:
    return Demand(key=key, rates=rates, concurrent=places)


def passed(answer: Passage | Busy) -> Passage:
    assert isinstance(answer, Passage), answer
    return answer


def take(meters: Meters, *demands: Demand, at: datetime = NOW) -> Passage:
    """A passage, where one is expected."""
    return passed(meters.take(demands, at))


def refused(meters: Meters, *demands: Demand, at: datetime = NOW) -> tuple[str, str, datetime]:
    """Meter, rate and end, where the call is expected not to pass."""
    answer = meters.take(demands, at)
    assert isinstance(answer, Busy), answer
    return answer.key, answer.rate, answer.until


def level(meters: Meters, at: datetime = NOW, *, key: str = KEY, rate: str = "requests") -> float | None:
    """What a rate holds; None: it is full."""
    return meters.status(key, at).levels.get(rate)


def at_once(work: Callable[[int], object], times: int) -> list[object]:
    """In threads that interrupt each other as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(work, range(times)))
    finally:
        sys.setswitchinterval(usual)
