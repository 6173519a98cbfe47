"""Groups, charges that somebody else made, overruns and who lifts their block, and how full a scope is."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from crew_moe.domain.budget import Ceiling, Phase, RefusalReason, Standing, Window
from crew_moe.ports import Ledger
from tests.contracts.ledgers import TREE, all_amounts, amounts, clock, figures, held, ledger, refused
from tests.state.given import NOW, later

__all__ = ["clock", "ledger"]  # fixtures


def test_group_is_reserved_side_by_side(ledger: Ledger) -> None:
    ledger.set_limit("run:1", usd="0.75")

    group = ledger.reserve_group(TREE, usd=["0.25", "0", "0.5"], lease_s=60, note="council")

    assert isinstance(group, tuple)
    assert [one.nano for one in group] == [250_000_000, 0, 500_000_000]
    assert len({one.id for one in group}) == 3
    assert amounts(ledger.status("run:1")) == ("0", "0.75", "0", "0")
    ledger.settle(group[0].id, usd="0.125")
    ledger.release(group[2].id)
    assert amounts(ledger.status("run:1")) == ("0.125", "0", "0", "0")


def test_group_that_does_not_fit_reserves_none(ledger: Ledger) -> None:
    ledger.set_limit("run:1", usd="0.5")

    refusal = refused(ledger.reserve_group(TREE, usd=["0.25", "0.250000001"]))

    assert (refusal.scope, refusal.available) == ("run:1", Decimal("0.5"))
    assert list(ledger.open_charges()) == []
    assert all(status.reserved_usd == 0 for status in ledger.statuses())


def test_charge_books_once_per_id(ledger: Ledger) -> None:
    first = ledger.charge("d1/1", TREE, usd="0.25")

    assert figures(first) == (Phase.SETTLED, "0", "0.25", "0")
    assert (first.id, first.scopes) == ("d1/1", TREE)
    assert ledger.charge("d1/1", TREE, usd="7") == first
    ledger.charge("d1/2", TREE, usd="0.25")
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("0.5", "0", "0", "0"))


def test_charge_beyond_a_limit_is_overrun_there(ledger: Ledger) -> None:
    ledger.set_limit("run:1", usd="0.5")
    held(ledger.reserve(TREE, usd="0.25"))

    charged = ledger.charge("d1/1", TREE, usd="0.75")

    assert figures(charged) == (Phase.SETTLED, "0", "0.75", "0.5")
    assert amounts(ledger.status("run:1")) == ("0.25", "0.25", "0.5", "0")
    assert amounts(ledger.status("tenant:a")) == ("0.75", "0.25", "0", "0")
    assert [status.scope for status in ledger.statuses() if status.blocked] == ["run:1"]


def test_reconciling_lifts_the_block_and_keeps_what_was_spent(ledger: Ledger) -> None:
    ledger.set_limit("run:1", usd="1")
    ledger.set_limit("run:2", usd="1")
    for run in ("run:1", "run:2"):
        ledger.settle(held(ledger.reserve((run,), usd="0.25")).id, usd="0.5")

    assert [status.scope for status in ledger.reconcile("run:1")] == ["run:1"]
    assert list(ledger.reconcile("run:1")) == []
    assert amounts(ledger.status("run:1")) == ("0.25", "0", "0.25", "0")
    assert refused(ledger.reserve(("run:1",), usd="0.500000001")).reason is RefusalReason.LIMIT
    assert held(ledger.reserve(("run:1",), usd="0.5"))
    assert refused(ledger.reserve(("run:2",), usd="0.5")).reason is RefusalReason.OVERRUN
    assert [(status.scope, status.blocked) for status in ledger.reconcile()] == [("run:2", False)]
    assert held(ledger.reserve(("run:2",), usd="0.5"))


def test_new_overrun_blocks_again_after_reconciling(ledger: Ledger) -> None:
    ledger.set_limit("run:1", usd="1")
    for number in range(2):
        ledger.settle(held(ledger.reserve(("run:1",), usd="0.01")).id, usd="0.02")
        assert ledger.status("run:1").blocked, number
        ledger.reconcile()

    assert amounts(ledger.status("run:1")) == ("0.02", "0", "0.02", "0")


def test_standings_tell_how_full_each_limited_scope_is(ledger: Ledger) -> None:
    ledger.set_limit("tenant:a", usd="1", window="day")

    reservation = held(ledger.reserve(TREE, usd="0.25", ceilings={"run:1": Ceiling(limit_nano=500_000_000)}))
    settlement = ledger.settle(reservation.id, usd="0.125")

    day = later(hours=-12)
    tenant = Standing(
        scope="tenant:a",
        limit_nano=1_000_000_000,
        used_nano=250_000_000,
        window=Window.DAY,
        opened_at=day,
        ends_at=day + timedelta(days=1),
    )
    run = tenant._replace(scope="run:1", limit_nano=500_000_000, window=Window.RUN, opened_at=NOW, ends_at=None)
    assert reservation.standings == (tenant, run)
    assert settlement.standings == tuple(one._replace(used_nano=125_000_000) for one in (tenant, run))
