"""Leases: a call that never reports is charged in full, until somebody says what it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Phase
from crew_moe.errors import InvalidInput
from crew_moe.ports import Ledger
from tests.contracts.ledgers import NOTHING, TREE, all_amounts, amounts, clock, figures, held, ledger, refused, short
from tests.state.given import NOW, later

__all__ = ["clock", "ledger"]  # fixtures


def test_lease_that_ends_is_charged_in_full_for_whoever_looks(ledger: Ledger, clock: ManualClock) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25", lease_s=60, note="audit_task"))
    clock.advance(59.999)
    before = amounts(ledger.status("run:1"))
    clock.advance(0.001)

    assert before == ("0", "0.25", "0", "0")
    assert amounts(ledger.status("run:1")) == ("0.25", "0", "0", "0.25")
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("0.25", "0", "0", "0.25"))
    (charge,) = ledger.open_charges()
    assert (charge.id, charge.phase, charge.scopes) == (reservation.id, Phase.LAPSED, TREE)
    assert (short(charge.reserved_usd), charge.expires_at, charge.note) == ("0.25", later(seconds=60), "audit_task")


def test_leases_that_end_together_all_lapse(ledger: Ledger, clock: ManualClock) -> None:
    ledger.reserve_group(TREE, usd=["0.25", "0.5", "0"], lease_s=60)
    held(ledger.reserve(("tenant:a",), usd="1", lease_s=59))
    clock.advance(60)

    assert all_amounts(ledger) == {
        "project:p": ("0.75", "0", "0", "0.75"),
        "run:1": ("0.75", "0", "0", "0.75"),
        "tenant:a": ("1.75", "0", "0", "1.75"),
    }


@pytest.mark.parametrize("look", ["status", "statuses", "open_charges", "reserve", "settle"])
def test_whatever_comes_first_after_the_lease_sees_it_ended(ledger: Ledger, clock: ManualClock, look: str) -> None:
    ledger.set_limit("run:1", usd="0.25")
    reservation = held(ledger.reserve(("run:1",), usd="0.25", lease_s=1))
    clock.advance(1)

    seen: object = {
        "status": lambda: amounts(ledger.status("run:1")) == ("0.25", "0", "0", "0.25"),
        "statuses": lambda: all_amounts(ledger) == {"run:1": ("0.25", "0", "0", "0.25")},
        "open_charges": lambda: [charge.phase for charge in ledger.open_charges("run:1")] == [Phase.LAPSED],
        "reserve": lambda: refused(ledger.reserve(("run:1",), usd="0.1")).available == 0,
        "settle": lambda: figures(ledger.settle(reservation.id, usd="0.125"))[0] is Phase.SETTLED,
    }[look]()

    assert seen
    assert ledger.status("run:1").reserved_usd == 0


@pytest.mark.parametrize(
    ("usd", "charged", "after"),
    [
        ("0.125", "0.125", ("0.125", "0", "0", "0")),
        ("0.25", "0.25", ("0.25", "0", "0", "0")),
        ("0.75", "0.75", ("0.25", "0", "0.5", "0")),
        ("0", "0", NOTHING),
    ],
)
def test_settlement_after_the_lease_puts_the_charge_right(
    ledger: Ledger, clock: ManualClock, usd: str, charged: str, after: tuple[str, ...]
) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25", lease_s=60))
    clock.advance(3600)

    settlement = ledger.settle(reservation.id, usd=usd)

    assert figures(settlement)[:3] == (Phase.SETTLED, "0.25", charged)
    assert ledger.settle(reservation.id, usd="0.01") == settlement
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), after)
    assert list(ledger.open_charges()) == []


def test_release_after_the_lease_takes_the_charge_back(ledger: Ledger, clock: ManualClock) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25", lease_s=60))
    clock.advance(60)

    assert figures(ledger.release(reservation.id)) == (Phase.RELEASED, "0.25", "0", "0")
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), NOTHING)


def test_renewed_lease_counts_from_now_and_never_shortens(ledger: Ledger, clock: ManualClock) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25", lease_s=60))
    clock.advance(30)

    longer = ledger.renew(reservation.id, lease_s=60)
    same = ledger.renew(reservation.id, lease_s=1)
    clock.advance(59)

    assert (longer.id, longer.nano, longer.scopes) == (reservation.id, reservation.nano, TREE)
    assert longer.expires_at == same.expires_at == NOW + timedelta(seconds=90)
    assert amounts(ledger.status("run:1")) == ("0", "0.25", "0", "0")
    clock.advance(1)
    assert amounts(ledger.status("run:1")) == ("0.25", "0", "0", "0.25")


@pytest.mark.parametrize("ending", ["lapsed", "settled", "released"])
def test_ended_lease_is_not_renewed(ledger: Ledger, clock: ManualClock, ending: str) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25", lease_s=60))
    ends: dict[str, Callable[[], object]] = {
        "lapsed": lambda: clock.advance(60),
        "settled": lambda: ledger.settle(reservation.id, usd=0),
        "released": lambda: ledger.release(reservation.id),
    }
    ends[ending]()

    with pytest.raises(InvalidInput, match=ending):
        ledger.renew(reservation.id)


def test_open_charges_come_oldest_first_and_by_scope(ledger: Ledger, clock: ManualClock) -> None:
    first = held(ledger.reserve(("tenant:a", "run:1"), usd="1", lease_s=5, note="first"))
    second = held(ledger.reserve(("tenant:a", "run:2"), usd="2", lease_s=600, note="second"))
    gone = held(ledger.reserve(("tenant:a", "run:1"), usd="3"))
    ledger.release(gone.id)
    clock.advance(5)

    assert [(charge.id, charge.phase) for charge in ledger.open_charges()] == [
        (first.id, Phase.LAPSED),
        (second.id, Phase.HELD),
    ]
    assert [charge.note for charge in ledger.open_charges("run:2")] == ["second"]
    assert list(ledger.open_charges("run:9")) == []
