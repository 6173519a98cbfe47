"""Check digits: each takes a published example and refuses it with one digit changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crew_moe.screening.pii import national
from crew_moe.screening.pii.checks import card, debit_card, iban, ipv4, ipv6, itin, luhn, ssn, whole

NUMBERS: dict[str, tuple[Callable[[str], bool], str]] = {
    "card": (luhn, "4111111111111111"),
    "Spanish DNI": (national.spanish, "12345678Z"),
    "Spanish NIE": (national.spanish, "X1234567L"),
    "Italian": (national.italian, "RSSMRA85T10A562S"),
    "French": (national.french, "255081416802538"),
    "German": (national.german, "86095742719"),
    "Polish": (national.polish, "44051401359"),
    "Brazilian": (national.brazilian, "52998224725"),
    "Dutch": (national.dutch, "111222333"),
    "Finnish": (national.finnish, "131052308T"),
    "Chinese": (national.chinese, "11010519491231002X"),
    "Singaporean": (national.singaporean, "S1234567D"),
    "British health": (national.british_health, "9434765919"),
    "Verhoeff": (national.verhoeff, "2363"),
    "Swedish": (national.born_by_luhn, "8112189876"),
}


@pytest.mark.parametrize(("check", "number"), NUMBERS.values(), ids=NUMBERS)
def test_a_right_number_passes_and_a_changed_digit_does_not(check: Callable[[str], bool], number: str) -> None:
    place = 2
    changed = (
        number[:place] + str((int(number[place]) + 1) % 10 if number[place].isdigit() else 0) + number[place + 1 :]
    )

    assert check(number)
    assert not check(changed)


@pytest.mark.parametrize("number", ["4222222222222", "378282246310005", "6011111111111117", "5555 5555 5555 4444"])
def test_cards_of_every_scheme_and_length_are_taken_whole(number: str) -> None:
    assert card(number) == len(number)


@pytest.mark.parametrize("number", ["4111111111111112", "9111111111111111", "0000000000000000", "411111111111111"])
def test_what_no_scheme_issues_is_no_card(number: str) -> None:
    assert card(number) == 0


def test_a_card_ends_where_its_digits_do() -> None:
    assert card("4111 1111 1111 1111 12") == len("4111 1111 1111 1111")


def test_debit_schemes_use_lengths_that_credit_schemes_do_not() -> None:
    assert (card("503867297114"), debit_card("503867297114")) == (0, 12)


def test_an_iban_has_its_countrys_length_and_ends_there() -> None:
    assert iban("GB26 YVOK 0923 4647 7929 23 and") == len("GB26 YVOK 0923 4647 7929 23")
    assert iban("GB27 YVOK 0923 4647 7929 23") == 0
    assert iban("ZZ26YVOK09234647792923") == 0


@pytest.mark.parametrize("number", ["000121234", "666121234", "900121234", "123001234", "123120000"])
def test_social_security_numbers_that_are_never_issued(number: str) -> None:
    assert not ssn(number)


def test_the_irs_issues_some_groups_only() -> None:
    assert itin("912701234")
    assert not itin("912661234")


@pytest.mark.parametrize("address", ["127.0.0.1", "255.255.255.0", "224.0.0.1", "1.2.3.256"])
def test_an_address_of_nobody_is_not_personal(address: str) -> None:
    assert ipv4(address) == 0


@pytest.mark.parametrize(
    ("address", "counts"), [("2001:db8::1", True), ("::1", False), ("a::b", False), ("face::bed", False)]
)
def test_names_of_programs_are_no_addresses(address: str, counts: bool) -> None:
    assert bool(ipv6(address)) is counts


def test_a_whole_check_reads_letters_and_digits_alone() -> None:
    assert whole(str.isdigit)("12-34 56") == len("12-34 56")
