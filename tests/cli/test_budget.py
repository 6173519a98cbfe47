"""`crew-moe budget`: what people see of scopes, and what they change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from crew_moe.cli.budget import ROWS
from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Reservation
from crew_moe.ports import Ledger
from crew_moe.state import open_ledger
from tests.cli.conftest import Cli, Done

Budget = Callable[..., Done]
LEASE_S = 60


@pytest.fixture
def budget(cli: Cli, state: str, monkeypatch: pytest.MonkeyPatch) -> Budget:
    """`crew-moe budget` over the state of this test."""
    monkeypatch.setenv("CREW_MOE_STATE", state)
    return partial(cli, "budget")


@pytest.fixture
def ledger(state: str) -> Iterator[Ledger]:
    """The same ledger, as a program has it."""
    opened = open_ledger(state)
    yield opened
    opened.close()


def _held(ledger: Ledger, usd: str, *scopes: str) -> Reservation:
    found = ledger.reserve(scopes, usd=usd, lease_s=LEASE_S, note="d-1")
    assert isinstance(found, Reservation)
    return found


def _rows(done: Done) -> list[list[str]]:
    return [line.split() for line in done.out.splitlines()]


def test_limit_that_is_set_holds_for_programs(budget: Budget, ledger: Ledger) -> None:
    done = budget("set", "tenant:acme", "50", "--window", "month")

    assert done.code == 0, done.err
    assert ["tenant:acme", "$50.000000", "$0.000000", "$0.000000", "$50.000000", "month"] in _rows(done)
    assert ledger.status("tenant:acme").limit_usd == Decimal(50)


def test_top_up_raises_a_limit_and_none_takes_it_away(budget: Budget, ledger: Ledger) -> None:
    budget("set", "tenant:acme", "50")

    budget("top-up", "tenant:acme", "2.50")
    raised = ledger.status("tenant:acme").limit_usd
    budget("set", "tenant:acme", "none")

    assert raised == Decimal("52.50")
    assert ledger.status("tenant:acme").limit_usd is None


def test_status_shows_spent_reserved_and_left(budget: Budget, ledger: Ledger) -> None:
    ledger.set_limit("tenant:acme", usd="1", window="day")
    ledger.settle(_held(ledger, "0.5", "tenant:acme").id, usd="0.25")
    held = _held(ledger, "0.125", "tenant:acme")

    done = budget("status")

    assert ["tenant:acme", "$1.000000", "$0.250000", "$0.125000", "$0.625000", "day"] in _rows(done)
    assert f"{held.id} " in done.out
    assert "d-1" in done.out


def test_fullest_limits_come_first_and_the_unlimited_last(budget: Budget, ledger: Ledger) -> None:
    for scope, limit in (("user:empty", "1"), ("user:full", "1")):
        ledger.set_limit(scope, usd=limit)
    _held(ledger, "0.9", "tenant:acme", "user:full")

    scopes = [scope["scope"] for scope in budget("status", "--json").json["scopes"]]

    assert scopes == ["user:full", "user:empty", "tenant:acme"]


def test_long_tables_are_cut_unless_all_is_asked_for(budget: Budget, ledger: Ledger) -> None:
    for number in range(ROWS + 3):
        ledger.set_limit(f"user:{number:02}", usd="1")

    cut, whole = budget("status"), budget("status", "--all")

    assert "3 more rows: --all shows them." in cut.out
    assert f"user:{ROWS + 2:02}" not in cut.out
    assert f"user:{ROWS + 2:02}" in whole.out


def test_every_change_is_kept_with_who_and_why(budget: Budget) -> None:
    budget("set", "tenant:acme", "50", "--by", "Ada", "--why", "contract 17")
    budget("top-up", "tenant:acme", "5", "--by", "Grace")

    newest, first = budget("status", "--json").json["changes"]

    assert (first["action"], first["by"], first["why"]) == ("set", "Ada", "contract 17")
    assert (first["before"]["limit_usd"], first["after"]["limit_usd"]) == (None, "50")
    assert (newest["action"], newest["by"], newest["after"]["limit_usd"]) == ("top_up", "Grace", "55")
    assert "topped up to $55.000000" in " ".join(budget("status").out.split())


def test_author_is_the_user_unless_named(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "hopper")

    budget("set", "tenant:acme", "50")

    assert budget("status", "--json").json["changes"][0]["by"] == "hopper"


def test_system_without_a_name_for_the_user_is_no_hindrance(budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)

    assert budget("set", "tenant:acme", "50").code == 0


def test_overrun_is_shown_and_blocks_until_reconciled(
    budget: Budget, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.set_limit("tenant:acme", usd="1")
    ledger.settle(_held(ledger, "0.5", "tenant:acme").id, usd="0.75")
    monkeypatch.setenv("COLUMNS", "80")

    shown = budget("status")
    lifted = budget("reconcile", "tenant:acme", "--why", "read the invoice")

    assert "$0.250000" in shown.out
    assert "Blocked until reconciled: tenant:acme." in shown.out
    assert lifted.code == 0
    assert not ledger.status("tenant:acme").blocked
    assert budget("reconcile").out == "No scope was blocked.\n"


def test_charge_that_nobody_knew_is_put_right(budget: Budget, state: str) -> None:
    clock = ManualClock(datetime.now(UTC))
    ledger = open_ledger(state, clock=clock)
    lost = _held(ledger, "0.5", "tenant:acme", "run:7")
    clock.advance(LEASE_S + 1)
    assert ledger.status("run:7").settled_usd == Decimal("0.5")

    done = budget("reconcile", "--charge", lost.id, "--usd", "0.125", "--json")

    assert {scope["scope"]: scope["settled_usd"] for scope in done.json["scopes"]} == {
        "tenant:acme": "0.125",
        "run:7": "0.125",
    }
    assert ledger.open_charges() == ()
    ledger.close()


def test_nothing_is_said_to_be_nothing(budget: Budget) -> None:
    assert budget("status").out == "Nothing was charged to any scope yet, and none has a limit of its own.\n"
    assert budget("status", "--json").json == {"scopes": [], "open": [], "changes": []}


def test_table_fits_eighty_columns_with_its_amounts_whole(
    budget: Budget, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.set_limit("project:acme/the-web-shop-of-the-year", usd="1234567.89", window="month")
    ledger.settle(_held(ledger, "0.5", "project:acme/the-web-shop-of-the-year").id, usd="0.75")
    _held(ledger, "0.25", "tenant:other")
    monkeypatch.setenv("COLUMNS", "80")

    done = budget("status")

    assert all(len(line) <= 80 for line in done.out.splitlines())
    assert all(amount in done.out for amount in ("$1,234,567.890000", "$0.250000", "$0.500000"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("status", "tenant:acm"), "the ledger knows no scope 'tenant:acm'; did you mean 'tenant:acme'?"),
        (("status", "tenat:acme"), "'tenat' is no kind of scope; did you mean 'tenant'?"),
        (("status", "acme"), "SCOPE: 'acme' is no scope; allowed: kind:name"),
        (("set", "tenant:acme", "nan"), "usd: 'nan' is no amount of US$"),
        (("set", "tenant:acme", "inf"), "usd: 'inf' is no amount of US$"),
        (("set", "tenant:acme", "--", "-1"), "usd: '-1' is no amount of US$; allowed: a finite number from 0"),
        (("set", "tenant:acme", "1e30"), "usd: '1e30' is no amount of US$"),
        (("set", "tenant:acme", "fifty"), "usd: 'fifty' is no amount of US$"),
        (("set", "tenant:acme", "5", "--window", "mont"), "'mont' is no window; did you mean 'month'?"),
        (("set", "tenant:\u200bacme", "5"), "is no name of a tenant"),
        (("top-up", "tenant:other", "5"), "'tenant:other' has no limit of its own that could be raised"),
        (("reconcile", "--charge", "abc"), "an open charge and its price; allowed: SCOPE, --charge ID --usd USD"),
        (("reconcile", "--usd", "1"), "an open charge and its price"),
        (("reconcile", "tenant:acme", "--charge", "abc", "--usd", "1"), "either a scope, or an open charge"),
        (("reconcile", "--charge", "abc", "--usd", "1"), "unknown reservation 'abc'"),
    ],
)
def test_wrong_input_is_one_clear_line(budget: Budget, arguments: tuple[str, ...], told: str) -> None:
    budget("set", "tenant:acme", "50")
    before = budget("status", "--json").json

    done = budget(*arguments)

    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert told in done.err
    assert budget("status", "--json").json["scopes"] == before["scopes"]


@pytest.mark.parametrize(
    "command", [("status",), ("set", "tenant:a", "1"), ("top-up", "tenant:a", "1"), ("reconcile",)]
)
def test_memory_is_no_place_for_a_budget_of_the_command_line(cli: Cli, command: tuple[str, ...]) -> None:
    done = cli("budget", *command, "--state", ":memory:")

    assert done.code == 2
    assert "--state: a budget needs a state that outlives this command" in done.err


def test_state_of_the_command_comes_before_that_of_the_environment(budget: Budget, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"

    budget("set", "tenant:acme", "1", "--state", other)

    assert budget("status", "--json").json["scopes"] == []
    assert [scope["scope"] for scope in budget("status", "--state", other, "--json").json["scopes"]] == ["tenant:acme"]
