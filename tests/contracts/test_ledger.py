"""The two halves of a charge: the same in memory, in a file and in Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from crew_moe.domain.budget import Phase, RefusalReason, Reservation, Window
from crew_moe.errors import UnknownReservation
from crew_moe.ports import Ledger
from tests.contracts.ledgers import NOTHING, TREE, all_amounts, amounts, clock, figures, held, ledger, refused, short
from tests.state.given import NOW, later

__all__ = ["clock", "ledger"]  # fixtures


def test_scope_that_nobody_used_is_empty_and_stays_unknown(ledger: Ledger) -> None:
    status = ledger.status("tenant:a")

    assert amounts(status) == NOTHING
    assert (status.scope, status.limit_usd, status.window) == ("tenant:a", None, Window.TOTAL)
    assert (status.opened_at, status.ends_at, status.blocked) == (NOW, None, False)
    assert list(ledger.statuses()) == []


def test_amount_is_put_aside_in_all_scopes(ledger: Ledger) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.004", lease_s=60))

    assert (reservation.ok, reservation.nano, reservation.scopes) == (True, 4_000_000, TREE)
    assert reservation.expires_at == later(seconds=60)
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("0", "0.004", "0", "0"))


def test_settling_less_returns_the_rest(ledger: Ledger) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.004"))

    settlement = ledger.settle(reservation.id, usd="0.0031")

    assert (settlement.id, settlement.scopes) == (reservation.id, TREE)
    assert figures(settlement) == (Phase.SETTLED, "0.004", "0.0031", "0")
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("0.0031", "0", "0", "0"))


def test_releasing_returns_all(ledger: Ledger) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.004"))

    assert figures(ledger.release(reservation.id)) == (Phase.RELEASED, "0.004", "0", "0")
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), NOTHING)


def test_settling_more_tells_the_truth_as_overrun_and_blocks_limited_scopes(ledger: Ledger) -> None:
    ledger.set_limit("project:p", usd="1")
    reservation = held(ledger.reserve(TREE, usd="0.25"))

    settlement = ledger.settle(reservation.id, usd="0.75")

    assert figures(settlement) == (Phase.SETTLED, "0.25", "0.75", "0.5")
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("0.25", "0", "0.5", "0"))
    assert [status.scope for status in ledger.statuses() if status.blocked] == ["project:p"]
    refusal = refused(ledger.reserve(TREE, usd="0.000000001"))
    assert (refusal.scope, refusal.reason, short(refusal.available)) == ("project:p", RefusalReason.OVERRUN, "0")
    assert held(ledger.reserve(("tenant:a", "run:1"), usd="5"))


def test_refusal_names_limit_and_room_and_reserves_nowhere(ledger: Ledger) -> None:
    ledger.set_limit("project:p", usd="1")
    held(ledger.reserve(TREE, usd="0.75"))

    refusal = refused(ledger.reserve(TREE, usd="0.250000001"))

    assert (refusal.ok, refusal.scope, refusal.reason) == (False, "project:p", RefusalReason.LIMIT)
    assert (short(refusal.limit), short(refusal.available), refusal.retry_at) == ("1", "0.25", None)
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("0", "0.75", "0", "0"))


@pytest.mark.parametrize("scopes", [TREE, TREE[::-1], ("project:p", "run:1", "tenant:a")], ids=" ".join)
def test_refusal_names_the_widest_scope_without_room(ledger: Ledger, scopes: tuple[str, ...]) -> None:
    for scope in ("run:1", "project:p"):
        ledger.set_limit(scope, usd="0.001")

    assert refused(ledger.reserve(scopes, usd="0.002")).scope == "project:p"
    assert held(ledger.reserve(scopes, usd="0.001")).scopes == TREE


def test_what_fits_to_the_last_nano_is_never_refused(ledger: Ledger) -> None:
    ledger.set_limit("tenant:a", usd="0.000000003")
    for _ in range(3):
        reservation = held(ledger.reserve(("tenant:a",), usd="0.000000001"))
    refused(ledger.reserve(("tenant:a",), usd="0.000000001"))
    ledger.release(reservation.id)

    assert held(ledger.reserve(("tenant:a",), usd="0.000000001"))


def test_fractions_of_a_nano_are_rounded_up(ledger: Ledger) -> None:
    reservation = held(ledger.reserve(("tenant:a",), usd="0.0000000011"))

    assert reservation.nano == 2
    assert short(ledger.settle(reservation.id, usd="0.0000000001").charged_usd) == "0.000000001"


def test_nothing_is_never_refused(ledger: Ledger) -> None:
    ledger.set_limit("tenant:a", usd="0")
    ledger.charge("d1/1", ("tenant:a",), usd="1")

    reservation = held(ledger.reserve(("tenant:a", "run:1"), usd=0))

    assert ledger.status("tenant:a").blocked
    assert figures(ledger.settle(reservation.id, usd=0)) == (Phase.SETTLED, "0", "0", "0")


def test_first_settlement_holds(ledger: Ledger) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25"))
    first = ledger.settle(reservation.id, usd="0.125")

    assert ledger.settle(reservation.id, usd="0.125") == first
    assert ledger.settle(reservation.id, usd="9") == first
    assert ledger.release(reservation.id) == first
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("0.125", "0", "0", "0"))


def test_release_holds_against_a_settlement_of_nothing(ledger: Ledger) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25"))
    first = ledger.release(reservation.id)

    assert ledger.release(reservation.id) == first
    assert ledger.settle(reservation.id, usd=0) == first
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), NOTHING)


def test_money_spent_after_a_release_is_overrun_once(ledger: Ledger) -> None:
    ledger.set_limit("run:1", usd="1")
    reservation = held(ledger.reserve(TREE, usd="0.25"))
    ledger.release(reservation.id)

    late = ledger.settle(reservation.id, usd="0.125")

    assert figures(late) == (Phase.SETTLED, "0.25", "0.125", "0.125")
    assert ledger.settle(reservation.id, usd="0.5") == late
    assert ledger.release(reservation.id) == late
    assert all_amounts(ledger) == dict.fromkeys(sorted(TREE), ("0", "0", "0.125", "0"))
    assert ledger.status("run:1").blocked


@pytest.mark.parametrize("identity", ["", "never", "0" * 32, "charge:d1/1", "d1/1", "ü\n" * 500])
def test_unknown_reservation_is_one_clear_error(ledger: Ledger, identity: str) -> None:
    ledger.charge("d1/1", TREE, usd="1")

    with pytest.raises(UnknownReservation, match="unknown reservation"):
        ledger.settle(identity, usd=0)
    with pytest.raises(UnknownReservation):
        ledger.release(identity)
    with pytest.raises(UnknownReservation):
        ledger.renew(identity)


def test_threads_never_pass_a_limit_and_never_miss_room(ledger: Ledger) -> None:
    ledger.set_limit("tenant:a", usd="0.1")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda run: ledger.reserve(("tenant:a", f"run:{run % 7}"), usd="0.001"), range(160)))

    taken = [answer for answer in answers if isinstance(answer, Reservation)]
    assert len(taken) == len({one.id for one in taken}) == 100
    assert amounts(ledger.status("tenant:a")) == ("0", "0.1", "0", "0")


def test_threads_that_settle_at_once_settle_once(ledger: Ledger) -> None:
    reservation = held(ledger.reserve(TREE, usd="0.25"))

    with ThreadPoolExecutor(8) as pool:
        settled = list(pool.map(lambda cent: ledger.settle(reservation.id, usd=f"0.{cent:02}"), range(1, 17)))

    assert len({settlement.charged_usd for settlement in settled}) == 1
    assert amounts(ledger.status("run:1"))[0] == short(settled[0].charged_usd)


def test_close_may_be_called_twice(ledger: Ledger) -> None:
    ledger.close()
    ledger.close()
