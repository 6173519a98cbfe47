"""What the contract suites of the ledger share: where ledgers lie, and short words for amounts."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Phase, Refusal, Reservation, ScopeStatus, Settlement
from crew_moe.ports import Ledger
from crew_moe.state import open_ledger
from tests.state.given import NOW

TREE: Final = ("tenant:a", "project:p", "run:1")
EVERY: Final = ("memory", "sqlite", "redis")
SHARED: Final = ("sqlite", "redis")
NOTHING: Final = ("0", "0", "0", "0")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def url_of(store: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Where an empty ledger of that kind lies."""
    if store == "redis":
        return str(request.getfixturevalue("redis_url"))
    return ":memory:" if store == "memory" else f"sqlite:///{folder}/budget.db"


@pytest.fixture(params=EVERY)
def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Ledger]:
    opened = open_ledger(url_of(request.param, request, tmp_path), clock=clock)
    yield opened
    opened.close()


@pytest.fixture(params=SHARED)
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger that outlives whoever opened it."""
    return url_of(request.param, request, tmp_path)


def held(answer: Reservation | Refusal) -> Reservation:
    """The reservation, where one is expected."""
    assert isinstance(answer, Reservation), answer
    return answer


def refused(answer: object) -> Refusal:
    """The refusal, where one is expected."""
    assert isinstance(answer, Refusal), answer
    return answer


def figures(settlement: Settlement) -> tuple[Phase, str, str, str]:
    """Its phase; what was reserved, is charged and was overrun, in US$."""
    reserved, charged, overrun = settlement.reserved_usd, settlement.charged_usd, settlement.overrun_usd
    return settlement.phase, short(reserved), short(charged), short(overrun)


def amounts(status: ScopeStatus) -> tuple[str, str, str, str]:
    """Settled, reserved, overrun and lapsed US$, as short as they can be written."""
    return short(status.settled_usd), short(status.reserved_usd), short(status.overrun_usd), short(status.lapsed_usd)


def short(amount: Decimal | None) -> str:
    """`0.0040` -> `0.004`; None: `no limit`."""
    if amount is None:
        return "no limit"
    text = f"{amount:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def all_amounts(ledger: Ledger) -> dict[str, tuple[str, str, str, str]]:
    """`amounts` of every scope that the ledger knows."""
    return {status.scope: amounts(status) for status in ledger.statuses()}


def spend(ledger: Ledger, usd: str, *scopes: str) -> None:
    """Reserve and settle one amount."""
    ledger.settle(held(ledger.reserve(scopes, usd=usd)).id, usd=usd)


def settled(ledger: Ledger, scope: str) -> str:
    """Settled US$ of one scope."""
    return short(ledger.status(scope).settled_usd)
