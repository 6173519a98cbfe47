"""The cashier: closed before a call that nobody can pay for, never in the way after it, and heard in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from crew_moe.clock import ManualClock, SystemClock
from crew_moe.domain.budget import BudgetPolicy, Ceiling, Refusal, RefusalReason, Reservation, Window
from crew_moe.errors import StateError
from crew_moe.execution.cashier import Cashier
from crew_moe.execution.errand import NOBODYS, Errand
from crew_moe.state import open_ledger
from crew_moe.state.memory.ledger import MemoryLedger
from crew_moe.telemetry.events import Recorder

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DAILY = Errand(scopes=("tenant:a",), ceilings={"tenant:a": Ceiling(limit_nano=1_000, window=Window.DAY)})


def cashier(clock: ManualClock | None = None) -> Cashier:
    clock = clock or ManualClock(NOON)
    return Cashier(ledger=MemoryLedger(clock=clock), policy=BudgetPolicy(), clock=clock, sink=Recorder())


def reserved(on: Cashier, nano: int, errand: Errand = DAILY) -> Reservation:
    found = on.reserve(errand, nano, time_s=10.0, note="d1")
    assert isinstance(found, Reservation), found
    return found


def events(on: Cashier) -> list[str]:
    assert isinstance(on.sink, Recorder)
    return [name for name, _ in on.sink.events]


def fail(*_: Any, **__: Any) -> Any:
    raise StateError("the server is gone")


def test_a_free_call_and_a_call_that_nobody_pays_for_need_no_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    on = cashier()
    monkeypatch.setattr(on.ledger, "reserve", fail)

    assert on.reserve(DAILY, 0, time_s=1.0, note="") is None
    assert on.reserve(NOBODYS, 10**9, time_s=1.0, note="") is None


def test_a_lost_ledger_has_no_money(monkeypatch: pytest.MonkeyPatch) -> None:
    on = cashier()
    monkeypatch.setattr(on.ledger, "reserve", fail)
    found = on.reserve(DAILY, 1, time_s=1.0, note="")

    assert isinstance(found, Refusal)
    assert found.reason is RefusalReason.CLOSED
    assert events(on) == ["ledger_lost"]


@pytest.mark.parametrize("ending", ["settle", "release"])
def test_a_ledger_lost_after_the_call_leaves_the_charge_to_the_lease(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(NOON)
    on = cashier(clock)
    reservation = reserved(on, 400)
    with monkeypatch.context() as patch:
        patch.setattr(on.ledger, ending, fail)
        on.settle(reservation, 100) if ending == "settle" else on.release(reservation)
    clock.advance(60.0)

    assert events(on) == ["charge_not_written"]
    assert on.ledger.status("tenant:a").lapsed_usd * 10**9 == 400


def test_a_call_of_any_length_holds_its_money_a_day_at_most() -> None:
    on = cashier()
    found = on.reserve(DAILY, 400, time_s=1e9, note="d1")
    assert isinstance(found, Reservation)
    on.renew(found, time_s=1e9)

    assert found.expires_at == NOON + timedelta(days=1)
    assert events(on) == []


def test_money_whose_lease_has_ended_can_not_be_kept_and_nobody_is_disturbed() -> None:
    clock = ManualClock(NOON)
    on = cashier(clock)
    reservation = reserved(on, 400)
    clock.advance(60.0)
    on.renew(reservation, time_s=10.0)
    on.settle(reservation, 100)

    assert events(on) == ["charge_not_written"]
    assert on.ledger.status("tenant:a").settled_usd * 10**9 == 100


def test_soft_limit_is_told_once_in_each_window() -> None:
    clock = ManualClock(NOON)
    on = cashier(clock)
    for nano in (800, 50, 50):
        on.settle(reserved(on, nano), nano)
    assert events(on) == ["budget_soft_limit"]

    clock.advance(86_400.0)
    on.settle(reserved(on, 800), 800)
    assert events(on) == ["budget_soft_limit"] * 2


def test_spending_faster_than_the_window_passes_is_told() -> None:
    clock = ManualClock(NOON.replace(hour=4))
    on = cashier(clock)
    on.settle(reserved(on, 300), 300)

    assert events(on) == ["budget_burn_rate"]


def test_spending_at_the_windows_own_pace_is_nobodys_business() -> None:
    on = cashier(ManualClock(NOON))
    on.settle(reserved(on, 450), 450)

    assert events(on) == []


def test_the_worst_case_of_a_call_under_way_is_no_alarm() -> None:
    on = cashier()
    on.settle(reserved(on, 950), 10)

    assert events(on) == []


def test_an_overrun_is_told() -> None:
    on = cashier()
    on.settle(reserved(on, 100), 150)

    assert events(on) == ["budget_overrun"]


def test_left_is_the_share_of_the_tightest_limit() -> None:
    on = cashier()
    errand = Errand(
        scopes=("tenant:a", "run:1"),
        ceilings={"tenant:a": Ceiling(limit_nano=1_000), "run:1": Ceiling(limit_nano=100)},
    )
    assert (on.left(NOBODYS), on.left(errand)) == (None, 1.0)

    reserved(on, 75, errand)
    assert on.left(errand) == 0.25


def test_two_that_raise_a_limit_of_the_policy_at_once_both_raise_it(tmp_path: Path) -> None:
    with closing(open_ledger(f"sqlite:///{tmp_path}/state.db")) as ledger, ThreadPoolExecutor(2) as threads:
        on = Cashier(ledger=ledger, policy=BudgetPolicy(), clock=SystemClock(), sink=Recorder())
        together = Barrier(2)

        def raised(scope: str) -> None:
            together.wait(10.0)
            on.raise_limit(scope, 500)

        for number in range(20):
            scope = f"tenant:t{number}"
            assert ledger.reserve((scope,), usd="0", ceilings={scope: Ceiling(limit_nano=1_000)}).ok
            list(threads.map(raised, [scope, scope]))
            assert ledger.status(scope).limit_usd == Decimal("0.000002")
