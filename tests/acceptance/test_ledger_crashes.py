"""Processes that race for one budget, and die on the way, never pass it, and what they were told holds."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Reservation, ScopeStatus
from crew_moe.domain.money import to_nano, to_usd
from crew_moe.state import open_ledger
from tests.acceptance.ledger_race import KILLED, race

pytestmark = pytest.mark.accept

SEED = 5


def _url(store: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if store == "redis":
        return str(request.getfixturevalue("redis_url"))
    return ":memory:" if store == "memory" else f"sqlite:///{folder}/budget.db"


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _url(request.param, request, tmp_path)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return _url(request.param, request, tmp_path)


def test_killed_processes_never_pass_a_limit_and_lose_nothing_that_was_acknowledged(url: str, tmp_path: Path) -> None:
    finished = race(url, tmp_path, processes=8, steps=2_000, seed=SEED)
    lapsed = finished.finish()
    statuses = finished.ledger.statuses()

    assert finished.codes == {0: 8, KILLED: finished.deaths}
    assert finished.deaths >= 8
    assert sum(fact["do"] == "step" for fact in finished.facts) == 16_000
    assert (finished.passed, finished.looks > 100) == ([], True)
    assert {status.reserved_usd for status in statuses} == {0}
    assert finished.unreported() <= {charge.id for charge in lapsed}
    unheard = {charge.id for charge in lapsed} - finished.unreported()
    assert len(unheard) <= 2 * finished.deaths  # made, and killed before it was told
    amounts = {one.scope: (to_nano(one.settled_usd), to_nano(one.overrun_usd)) for one in statuses}
    assert amounts == finished.expected(lapsed)
    finished.ledger.close()


@pytest.mark.parametrize("limit", [400, 5_000])
def test_nothing_that_fits_is_refused_in_a_sequential_run(store_url: str, limit: int) -> None:
    """One process alone: what it was told before a call is what the call finds."""
    clock, rng = ManualClock(datetime(2026, 3, 31, 20, tzinfo=UTC)), Random(limit)
    ledger = open_ledger(store_url, clock=clock)
    ledger.set_limit("tenant:t", usd=to_usd(limit), window="hour")
    ledger.set_limit("run:r", usd=to_usd(limit * 3 // 4), window="hour")
    verdicts: Counter[bool] = Counter()
    for _ in range(2_000):
        clock.advance(rng.choice([0, 1, 100]))
        nano = rng.randint(0, limit // 40)
        fits = all(_fits(ledger.status(scope), nano) for scope in ("tenant:t", "run:r"))
        answer = ledger.reserve(("tenant:t", "run:r"), usd=to_usd(nano), lease_s=rng.choice([1, 60, 600]))
        assert isinstance(answer, Reservation) is fits, answer
        verdicts[fits] += 1
        if isinstance(answer, Reservation) and rng.random() < 0.7:
            ledger.settle(answer.id, usd=to_usd(rng.randint(0, nano)))
    assert min(verdicts[True], verdicts[False]) > 200, verdicts
    ledger.close()


def _fits(status: ScopeStatus, nano: int) -> bool:
    return nano == 0 or (status.available_usd is not None and to_usd(nano) <= status.available_usd)
