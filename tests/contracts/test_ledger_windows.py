"""Windows: a limit starts anew with each, on a clock that never goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Ceiling, RefusalReason, Window
from crew_moe.ports import Ledger
from tests.contracts.ledgers import NOTHING, amounts, clock, held, ledger, refused, settled, short, spend
from tests.state.given import NOW

__all__ = ["clock", "ledger"]  # fixtures

A = "tenant:a"
CENT = Ceiling(limit_nano=10_000_000)
ENDS = {
    Window.HOUR: (datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 1, 13, tzinfo=UTC)),
    Window.DAY: (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)),
    Window.MONTH: (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
}


@pytest.mark.parametrize("window", ENDS)
def test_limit_starts_anew_with_each_window(ledger: Ledger, clock: ManualClock, window: Window) -> None:
    opened_at, ends_at = ENDS[window]
    status = ledger.set_limit(A, usd="1", window=window)
    spend(ledger, "1", A)
    clock.advance((ends_at - NOW).total_seconds() - 0.000_001)
    refusal = refused(ledger.reserve((A,), usd="0.5"))
    clock.advance(0.000_001)

    assert (status.window, status.opened_at, status.ends_at) == (window, opened_at, ends_at)
    assert (short(refusal.available), refusal.retry_at) == ("0", ends_at)
    assert amounts(ledger.status(A)) == NOTHING
    assert ledger.status(A).opened_at == ends_at
    spend(ledger, "1", A)


@pytest.mark.parametrize("window", [Window.TOTAL, Window.RUN, None])
def test_total_and_run_never_start_anew(ledger: Ledger, clock: ManualClock, window: Window | None) -> None:
    ledger.set_limit(A, usd="1", window=window)
    spend(ledger, "1", A)
    clock.advance(6 * 86_400)

    assert refused(ledger.reserve((A,), usd="0.5")).retry_at is None
    assert (ledger.status(A).opened_at, ledger.status(A).ends_at) == (NOW, None)


def test_settlement_is_credited_to_the_window_that_opened_it(ledger: Ledger, clock: ManualClock) -> None:
    ledger.set_limit(A, usd="1", window="hour")
    reservation = held(ledger.reserve((A,), usd="1", lease_s=7200))
    clock.advance(3600)

    assert amounts(ledger.status(A)) == NOTHING
    ledger.settle(reservation.id, usd="0.5")
    assert amounts(ledger.status(A)) == NOTHING
    spend(ledger, "1", A)


def test_lease_that_ends_in_a_later_window_is_charged_to_its_own(ledger: Ledger, clock: ManualClock) -> None:
    ledger.set_limit(A, usd="1", window="hour")
    reservation = held(ledger.reserve((A,), usd="1", lease_s=5400))
    clock.advance(5400)

    assert amounts(ledger.status(A)) == NOTHING
    assert [charge.id for charge in ledger.open_charges(A)] == [reservation.id]
    assert short(ledger.settle(reservation.id, usd="3").overrun_usd) == "2"
    assert amounts(ledger.status(A)) == NOTHING
    assert not ledger.status(A).blocked


def test_block_of_an_overrun_ends_with_its_window(ledger: Ledger, clock: ManualClock) -> None:
    ledger.set_limit(A, usd="1", window="hour")
    ledger.charge("d1/1", (A,), usd="2")
    refusal = refused(ledger.reserve((A,), usd="0.5"))
    clock.advance(3600)

    assert (refusal.reason, refusal.retry_at) == (RefusalReason.OVERRUN, NOW + timedelta(hours=1))
    assert held(ledger.reserve((A,), usd="1"))


def test_other_window_opens_another_account_and_the_first_is_kept(ledger: Ledger) -> None:
    ledger.set_limit(A, usd="1", window="day")
    spend(ledger, "0.75", A)

    hour = ledger.set_limit(A, usd="1", window="hour")
    spend(ledger, "0.5", A)
    day = ledger.set_limit(A, usd="1", window="day")

    assert amounts(hour) == NOTHING
    assert short(day.settled_usd) == "0.75"
    assert short(ledger.set_limit(A, usd="1", window="hour").settled_usd) == "0.5"


def test_held_money_stays_where_it_was_reserved(ledger: Ledger) -> None:
    ledger.set_limit(A, usd="1", window="day")
    reservation = held(ledger.reserve((A,), usd="0.75"))
    ledger.set_limit(A, usd="1", window="hour")

    ledger.settle(reservation.id, usd="0.5")

    assert amounts(ledger.status(A)) == NOTHING
    assert amounts(ledger.set_limit(A, usd="1", window="day")) == ("0.5", "0", "0", "0")


def test_clock_that_goes_back_opens_no_window_again(ledger: Ledger, clock: ManualClock) -> None:
    ledger.set_limit(A, usd="1", window="hour")
    clock.advance(3600)
    spend(ledger, "1", A)
    clock.advance(-1800)

    assert settled(ledger, A) == "1"
    refusal = refused(ledger.reserve((A,), usd="0.5"))
    assert refusal.retry_at == NOW + timedelta(hours=2)
    reservation = held(ledger.reserve(("run:1",), usd="0.5", lease_s=60))
    assert reservation.expires_at == NOW + timedelta(seconds=3660)


def test_clock_that_jumps_ahead_ends_leases_and_later_settlements_put_it_right(
    ledger: Ledger, clock: ManualClock
) -> None:
    ledger.set_limit(A, usd="1")
    reservation = held(ledger.reserve((A,), usd="0.75", lease_s=60))
    clock.advance(3600)
    refused(ledger.reserve((A,), usd="0.5"))
    clock.advance(-3600)

    ledger.settle(reservation.id, usd="0.25")

    assert amounts(ledger.status(A)) == ("0.25", "0", "0", "0")
    assert held(ledger.reserve((A,), usd="0.75"))


def test_runs_that_nobody_touches_for_a_week_are_forgotten(ledger: Ledger, clock: ManualClock) -> None:
    for run in ("run:gone", "task:gone", "run:limited", "tenant:kept"):
        spend(ledger, "0.5", run)
    ledger.set_limit("run:limited", usd="1")
    held(ledger.reserve(("run:unreported",), usd="1", lease_s=60))
    clock.advance(6 * 86_400)
    for number in range(20):
        spend(ledger, "0.5", f"run:new{number}")
    before = [status.scope for status in ledger.statuses()]
    clock.advance(3 * 86_400)
    for number in range(20):
        spend(ledger, "0.5", f"run:newer{number}")

    kept = [status.scope for status in ledger.statuses() if "new" not in status.scope]

    assert "run:gone" in before
    assert kept == ["run:limited", "run:unreported", "tenant:kept"]


def test_old_run_that_is_charged_again_is_not_forgotten_beside_a_new_task(ledger: Ledger, clock: ManualClock) -> None:
    spend(ledger, "0.5", "run:old")
    clock.advance(9 * 86_400)

    held(ledger.reserve(("task:new", "run:old"), usd="0.25"))

    assert amounts(ledger.status("run:old"))[1] == amounts(ledger.status("task:new"))[1] == "0.25"
