"""What tells a number that means something from one that only looks alike: check digits, ranges, known lengths.

Each check takes the text that a pattern matched and says how many of its first characters are the value; 0 refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

Check = Callable[[str], int]

_ALNUM: Final = re.compile(r"[^0-9A-Za-z]+")
_DIGITS: Final = re.compile(r"\D+")


def anything(value: str) -> int:
    return len(value)


def whole(predicate: Callable[[str], bool]) -> Check:
    """A check of the letters and digits alone: all of the match or nothing."""

    def check(value: str) -> int:
        return len(value) if predicate(compact(value)) else 0

    return check


def digits(value: str) -> str:
    return _DIGITS.sub("", value)


def compact(value: str) -> str:
    """Letters and digits alone, in capitals."""
    return _ALNUM.sub("", value).upper()


def luhn(number: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return (sum(map(int, number[-1::-2])) + sum(doubled)) % 10 == 0


def mod97(code: str) -> bool:
    """ISO 7064 mod 97-10, as IBANs use it: the first four characters count last; a letter counts as 10 to 35."""
    return int("".join(str(int(char, 36)) for char in code[4:] + code[:4])) % 97 == 1


# Leading digits -> lengths that the scheme issues.
_CARDS: Final = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14, 16)),
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),
    (re.compile(r"35"), (16,)),
    (re.compile(r"2131|1800"), (15,)),
    (re.compile(r"62|8[1-2]"), (16, 17, 18, 19)),
    (re.compile(r"220[0-4]|9792|60|508"), (16, 19)),
)
_DEBIT: Final = ((re.compile(r"50|5[6-9]|6"), (12, 13, 14, 15, 16, 17, 18, 19)),)


def card(value: str) -> int:
    """The longest beginning that a card scheme could have issued and whose check digit is right."""
    return _card(value, _CARDS)


def debit_card(value: str) -> int:
    """As `card`, for the debit schemes that use any length from 12 to 19."""
    return _card(value, _DEBIT)


def _card(value: str, schemes: tuple[tuple[re.Pattern[str], tuple[int, ...]], ...]) -> int:
    number = digits(value)
    lengths = next((lengths for prefix, lengths in schemes if prefix.match(number)), ())
    for length, end in _cuts(value):
        if length in lengths and luhn(number[:length]) and len(set(number[:length])) > 1:
            return end
    return 0


def _cuts(value: str) -> Iterator[tuple[int, int]]:
    """(letters and digits so far, offset) wherever a group ends, the longest first."""
    ends = [found.end() for found in re.finditer(r"[0-9A-Za-z]+", value)]
    yield from ((len(compact(value[:end])), end) for end in reversed(ends))


# ISO 13616 registry: how long an account number of each country is.
_IBAN_LENGTHS: Final = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FK FO GL NL", "19": "MK SI", "20": "AT BA EE KZ LT LU XK MN",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ DZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST SD", "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM", "28": "AL AZ BY CY DO GT HN HU LB NI PL SV", "29": "BR EG PS QA UA",
        "30": "JO KW MU YE", "31": "MT SC", "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def iban(value: str) -> int:
    """An account number of its country's length whose check digits are right (ISO 13616)."""
    wanted = _IBAN_LENGTHS.get(value[:2].upper(), 0)
    for length, end in _cuts(value):
        if length == wanted and mod97(compact(value[:end])):
            return end
    return 0


def ssn(number: str) -> bool:
    """A US social security number that the SSA may issue: no area 000, 666 or 9xx, no group 00, no serial 0000."""
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in {"000", "666"} and area[0] != "9" and group != "00" and serial != "0000"


def itin(number: str) -> bool:
    """A US taxpayer number: 9xx and a group that the IRS issues."""
    group = int(number[3:5])
    return number[0] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99)


def ipv4(value: str) -> int:
    """Four octets that name a host: neither this host itself, nor a mask, nor everybody."""
    try:
        address = IPv4Address(value)
    except AddressValueError:
        return 0
    nobody = address.is_loopback or address.is_unspecified or address.is_multicast or int(address) >> 24 == 255
    return 0 if nobody else len(value)


def ipv6(value: str) -> int:
    """A host's address; `a::b` may as well be two names of a program, so it takes four hex digits, one a number."""
    try:
        address = IPv6Address(value)
    except AddressValueError:
        return 0
    hexes = value.replace(":", "")
    likely = len(hexes) >= 4 and not hexes.isalpha()
    return len(value) if likely and not address.is_loopback and not address.is_unspecified else 0
