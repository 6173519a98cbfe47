"""Wrong scopes, amounts, leases and ids: one clear error each, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crew_moe.domain.budget import Ceiling
from crew_moe.errors import InvalidInput
from crew_moe.ports import Ledger
from tests.contracts.ledgers import TREE, all_amounts, amounts, clock, held, ledger

__all__ = ["clock", "ledger"]  # fixtures

BAD_SCOPES = [
    "",
    "tenant",
    "tenant:",
    ":a",
    "team:a",
    "Tenant:a",
    "tenant:" + "x" * 201,
    "tenant:a\nproject:b",
    "tenant:a\x00",
    "tenant:a\u200b",  # a zero-width space would make another account of the same name
    "tenant:\ud800",
    "tenant: a",
    "tenant:a ",
    7,
    None,
    ["tenant:a"],
]
BAD_AMOUNTS = ["-0.01", "-1e-30", "nan", "inf", "1e10", "1000000000.000000001", "x", "", True, None, float("nan"), []]
BAD_LEASES = [0, -1, float("nan"), float("inf"), 86_400.1, True, "60", None]


@pytest.fixture
def untouched(ledger: Ledger) -> Iterator[Ledger]:
    """Whatever a test does to it, it must hold the same money afterwards."""
    ledger.set_limit("tenant:a", usd="1")
    held(ledger.reserve(TREE, usd="0.25"))
    before = all_amounts(ledger)
    yield ledger
    assert all_amounts(ledger) == before
    assert len(ledger.open_charges()) == 1


@pytest.mark.parametrize("scope", BAD_SCOPES, ids=repr)
def test_malformed_scope_is_refused_everywhere(untouched: Ledger, scope: Any) -> None:
    with pytest.raises(InvalidInput):
        untouched.reserve(("run:1", scope), usd="0.1")
    with pytest.raises(InvalidInput):
        untouched.charge("d1/1", (scope,), usd="0.1")
    with pytest.raises(InvalidInput):
        untouched.status(scope)
    with pytest.raises(InvalidInput):
        untouched.set_limit(scope, usd="5")


@pytest.mark.parametrize("name", ["x" * 200, "acme/web", "a b", "Zoë", "東京", "a:b", "*", "🐙"])
def test_any_printable_name_is_one(ledger: Ledger, name: str) -> None:
    ledger.set_limit(f"user:{name}", usd="1", window="month")
    held(ledger.reserve((f"user:{name}",), usd="0.25"))

    assert all_amounts(ledger) == {f"user:{name}": ("0", "0.25", "0", "0")}


@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=repr)
def test_wrong_amount_is_refused_everywhere(untouched: Ledger, amount: Any) -> None:
    reservation = untouched.open_charges()[0].id

    with pytest.raises(InvalidInput):
        untouched.reserve(TREE, usd=amount)
    with pytest.raises(InvalidInput):
        untouched.reserve_group(TREE, usd=["0.1", amount])
    with pytest.raises(InvalidInput):
        untouched.settle(reservation, usd=amount)
    with pytest.raises(InvalidInput):
        untouched.charge("d1/1", TREE, usd=amount)
    with pytest.raises(InvalidInput):
        untouched.top_up("tenant:a", usd=amount)
    if amount is not None:
        with pytest.raises(InvalidInput):
            untouched.set_limit("tenant:a", usd=amount)


@pytest.mark.parametrize("lease_s", BAD_LEASES, ids=repr)
def test_wrong_lease_is_refused(untouched: Ledger, lease_s: Any) -> None:
    with pytest.raises(InvalidInput, match="lease_s"):
        untouched.reserve(TREE, usd="0.1", lease_s=lease_s)
    with pytest.raises(InvalidInput, match="lease_s"):
        untouched.renew(untouched.open_charges()[0].id, lease_s=lease_s)


@pytest.mark.parametrize("scopes", [(), "tenant:a", ("run:1", "run:1"), None, 7, tuple(f"run:{n}" for n in range(33))])
def test_wrong_set_of_scopes_is_refused(untouched: Ledger, scopes: Any) -> None:
    with pytest.raises(InvalidInput, match="scopes"):
        untouched.reserve(scopes, usd="0.1")


def test_unknown_window_is_refused_with_those_allowed(untouched: Ledger) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'month'"):
        untouched.set_limit("tenant:a", usd="5", window="months")


@pytest.mark.parametrize("usd", [[], "0.1", None, ["0.1"] * 101], ids=["none", "a word", "nothing", "too many"])
def test_wrong_group_is_refused(untouched: Ledger, usd: Any) -> None:
    with pytest.raises(InvalidInput, match="usd"):
        untouched.reserve_group(TREE, usd=usd)


@pytest.mark.parametrize("identity", ["", "x" * 201, "d1\n1", 7, None], ids=repr)
def test_wrong_charge_id_is_refused(untouched: Ledger, identity: Any) -> None:
    with pytest.raises(InvalidInput, match="charge_id"):
        untouched.charge(identity, TREE, usd="0.1")


@pytest.mark.parametrize(
    "ceilings",
    [
        {"run:2": Ceiling(limit_nano=1)},
        {"run:1": Ceiling(limit_nano=-1)},
        {"run:1": Ceiling(limit_nano=10**18 + 1)},
        {"run:1": Ceiling(limit_nano=1.5)},  # type: ignore[arg-type]
        {"run:1": Ceiling(limit_nano=1, window="day")},  # type: ignore[arg-type]
        {"run:1": 5},
        [],
    ],
    ids=["of another scope", "negative", "too large", "a fraction", "a word for a window", "a number", "no mapping"],
)
def test_wrong_ceiling_is_refused(untouched: Ledger, ceilings: Any) -> None:
    with pytest.raises(InvalidInput, match="ceilings"):
        untouched.reserve(TREE, usd="0.1", ceilings=ceilings)


def test_long_note_is_cut_and_an_odd_one_is_kept_readable(ledger: Ledger) -> None:
    held(ledger.reserve(("run:1",), usd="0.1", note="n" * 1000))
    held(ledger.reserve(("run:1",), usd="0.1", note="a\ud800b\x00"))

    assert [charge.note for charge in ledger.open_charges()] == ["n" * 200, "a?b?"]


def test_account_that_would_carry_too_much_is_refused_and_unchanged(ledger: Ledger) -> None:
    for number in range(9):
        ledger.charge(f"d{number}", TREE, usd=1_000_000_000)

    with pytest.raises(InvalidInput, match=r"tenant:a.*9,000,000,000"):
        ledger.charge("d10", TREE, usd="0.000000001")
    with pytest.raises(InvalidInput, match="tenant:a"):
        ledger.reserve(TREE, usd="0.000000001")
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("9000000000", "0", "0", "0"))


def test_overrun_that_would_carry_too_much_is_refused_and_may_come_again(ledger: Ledger) -> None:
    for number in range(8):
        ledger.charge(f"d{number}", ("run:1",), usd=1_000_000_000)
    reservation = held(ledger.reserve(("run:1",), usd=500_000_000))
    ledger.charge("d9", ("run:1",), usd=500_000_000)

    with pytest.raises(InvalidInput, match="run:1"):
        ledger.settle(reservation.id, usd="500000000.000000001")
    assert amounts(ledger.status("run:1")) == ("8500000000", "500000000", "0", "0")
    ledger.settle(reservation.id, usd=500_000_000)
    assert amounts(ledger.status("run:1")) == ("9000000000", "0", "0", "0")


def test_exact_at_the_largest_amounts(ledger: Ledger) -> None:
    ledger.set_limit("run:1", usd=1_000_000_000)
    reservation = held(ledger.reserve(("run:1",), usd="999999999.999999998"))

    assert held(ledger.reserve(("run:1",), usd="0.000000002"))
    ledger.settle(reservation.id, usd="999999999.999999997")
    assert amounts(ledger.status("run:1")) == ("999999999.999999997", "0.000000002", "0", "0")
    assert held(ledger.reserve(("run:1",), usd="0.000000001"))
