"""Limits: a scope's own, and the ceilings that calls bring along."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Ceiling, Window
from crew_moe.errors import InvalidInput
from crew_moe.ports import Ledger
from tests.contracts.ledgers import amounts, clock, held, ledger, refused, settled, short, spend

__all__ = ["clock", "ledger"]  # fixtures

A = "tenant:a"
CENT = Ceiling(limit_nano=10_000_000)


def test_other_limit_within_a_window_keeps_what_was_spent(ledger: Ledger) -> None:
    ledger.set_limit(A, usd="1", window="day")
    spend(ledger, "0.75", A)

    raised = ledger.set_limit(A, usd="2")
    lowered = ledger.set_limit(A, usd="0.5")

    assert (raised.window, short(raised.available_usd)) == (Window.DAY, "1.25")
    assert (settled(ledger, A), short(lowered.available_usd)) == ("0.75", "0")
    assert refused(ledger.reserve((A,), usd="0.000000001")).available == 0


def test_run_and_total_are_one_account(ledger: Ledger) -> None:
    spend(ledger, "0.75", A)

    assert settled(ledger, A) == "0.75"
    run = ledger.set_limit(A, usd="1", window="run")
    total = ledger.set_limit(A, usd="1", window="total")
    assert [(status.window, short(status.settled_usd)) for status in (run, total)] == [
        (Window.RUN, "0.75"),
        (Window.TOTAL, "0.75"),
    ]


def test_limit_is_taken_away_and_the_window_stays(ledger: Ledger) -> None:
    ledger.set_limit(A, usd="1", window="day")
    spend(ledger, "0.75", A)

    free = ledger.set_limit(A, usd=None)
    spend(ledger, "5", A)

    assert (free.limit_usd, free.available_usd, free.window) == (None, None, Window.DAY)
    again = ledger.set_limit(A, usd="6")
    assert (again.window, short(again.settled_usd), short(again.available_usd)) == (Window.DAY, "5.75", "0.25")


def test_top_up_raises_the_limit(ledger: Ledger) -> None:
    ledger.set_limit(A, usd="1", window="day")

    status = ledger.top_up(A, usd="0.5")

    assert (short(status.limit_usd), status.window) == ("1.5", Window.DAY)
    spend(ledger, "1.5", A)


def test_top_up_needs_a_limit_of_its_own(ledger: Ledger) -> None:
    held(ledger.reserve((A,), usd="0.001", ceilings={A: CENT}))

    for scope in (A, "tenant:unknown"):
        with pytest.raises(InvalidInput, match="has no limit of its own"):
            ledger.top_up(scope, usd="0.5")
    assert short(ledger.status(A).limit_usd) == "0.01"


def test_top_up_makes_the_last_ceiling_a_limit_of_its_own_and_raises_it(ledger: Ledger) -> None:
    held(ledger.reserve((A,), usd="0.001", ceilings={A: Ceiling(limit_nano=10**7, window=Window.DAY)}))

    statuses = [ledger.top_up(A, usd="0.01", adopt=True) for _ in range(2)]

    assert [(short(one.limit_usd), one.window) for one in statuses] == [("0.02", Window.DAY), ("0.03", Window.DAY)]
    assert short(statuses[-1].reserved_usd) == "0.001"
    with pytest.raises(InvalidInput, match="has no limit of its own"):
        ledger.top_up("tenant:unknown", usd="0.5", adopt=True)


def test_limit_never_passes_the_largest_amount(ledger: Ledger) -> None:
    ledger.set_limit(A, usd="999999999.999999999")

    with pytest.raises(InvalidInput, match="no amount of US"):
        ledger.top_up(A, usd="0.000000002")
    assert short(ledger.top_up(A, usd="0.000000001").limit_usd) == "1000000000"


def test_ceiling_limits_a_scope_that_has_no_limit_and_is_remembered(ledger: Ledger) -> None:
    held(ledger.reserve((A, "run:1"), usd="0.004", ceilings={"run:1": CENT}))

    status = ledger.status("run:1")

    assert (short(status.limit_usd), status.window) == ("0.01", Window.RUN)
    assert ledger.status(A).limit_usd is None
    assert refused(ledger.reserve(("run:1",), usd="0.007")).available == Decimal("0.006")


def test_ceiling_is_remembered_from_a_refusal_too(ledger: Ledger) -> None:
    refusal = refused(ledger.reserve(("run:1",), usd="1", ceilings={"run:1": CENT}))

    assert (short(refusal.limit), short(refusal.available)) == ("0.01", "0.01")
    assert short(ledger.status("run:1").limit_usd) == "0.01"


def test_last_ceiling_holds(ledger: Ledger) -> None:
    held(ledger.reserve(("run:1",), usd="0.01", ceilings={"run:1": CENT}))
    refused(ledger.reserve(("run:1",), usd="0.01", ceilings={"run:1": CENT}))
    wider = Ceiling(limit_nano=20_000_000)

    held(ledger.reserve(("run:1",), usd="0.005", ceilings={"run:1": wider}))

    assert held(ledger.reserve(("run:1",), usd="0.005"))
    assert refused(ledger.reserve(("run:1",), usd="0.000000001")).limit == Decimal("0.02")


def test_ceiling_brings_its_window(ledger: Ledger, clock: ManualClock) -> None:
    daily = Ceiling(limit_nano=10_000_000, window=Window.DAY)
    held(ledger.reserve((A,), usd="0.01", ceilings={A: daily}))

    assert (ledger.status(A).window, ledger.status(A).ends_at) == (Window.DAY, datetime(2026, 3, 2, tzinfo=UTC))
    clock.advance(12 * 3600)
    assert held(ledger.reserve((A,), usd="0.01"))


def test_limit_of_its_own_beats_a_ceiling(ledger: Ledger) -> None:
    ledger.set_limit(A, usd="1")
    held(ledger.reserve((A,), usd="0.5", ceilings={A: CENT}))

    assert short(ledger.status(A).limit_usd) == "1"
    assert short(ledger.set_limit(A, usd=None).limit_usd) == "0.01"
    assert refused(ledger.reserve((A,), usd="0.000000001")).available == 0


def test_charge_takes_ceilings_too(ledger: Ledger) -> None:
    ledger.charge("d1/1", ("run:1",), usd="0.03", ceilings={"run:1": CENT})

    assert amounts(ledger.status("run:1")) == ("0.01", "0", "0.02", "0")
    assert ledger.status("run:1").blocked
