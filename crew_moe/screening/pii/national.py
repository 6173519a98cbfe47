"""Check digits of identity and tax numbers, country by country. Each takes letters and digits alone, in capitals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final


def _weighted(number: str, weights: Iterable[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))


def _day(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


_DNI: Final = "TRWAGMYFPDXBNJZSQVHLCKE"


def spanish(code: str) -> bool:
    """DNI (12345678Z) and NIE (X1234567L): a letter from the remainder by 23."""
    number = code[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return number.isdigit() and _DNI[int(number) % 23] == code[-1]


# Value of 0-9 and A-Z at odd places.
_ODD: Final = "1 0 5 7 9 13 15 17 19 21 1 0 5 7 9 13 15 17 19 21 2 4 18 20 11 3 6 8 12 14 16 10 22 25 24 23"
_ODD_PLACES: Final = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", map(int, _ODD.split()), strict=True))


def italian(code: str) -> bool:
    """Codice fiscale: characters at odd places count by a table of their own (DM 23/12/1976)."""
    odd = sum(_ODD_PLACES[char] for char in code[:15:2])
    even = sum(int(char) if char.isdigit() else ord(char) - 65 for char in code[1:15:2])
    return chr(65 + (odd + even) % 26) == code[15]


def french(code: str) -> bool:
    """NIR, the number of the social security: 13 digits and 97 minus their remainder; Corsica counts as 19 and 18."""
    number = code[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(code[13:])


def german(code: str) -> bool:
    """Steuer-ID: ISO 7064 mod 11,10."""
    product = 10
    for digit in code[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return code[0] != "0" and (11 - product) % 10 == int(code[10])


def polish(code: str) -> bool:
    """PESEL: a birthday whose month carries the century, then weights 1 3 7 9."""
    return _day(str(int(code[2:4]) % 20), code[4:6]) and _weighted(code, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def brazilian(code: str) -> bool:
    """CPF: two check digits by weights falling to 2."""
    first = _weighted(code, range(10, 1, -1)) * 10 % 11 % 10
    second = _weighted(code, range(11, 1, -1)) * 10 % 11 % 10
    return len(set(code)) > 1 and f"{first}{second}" == code[9:]


def dutch(code: str) -> bool:
    """BSN: the eleven test."""
    return _weighted(code, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0 and code != "0" * 9


def finnish(code: str) -> bool:
    """Henkilötunnus without its century sign: the remainder by 31 picks the last character."""
    number = code[:6] + code[-4:-1]
    return _day(code[2:4], code[:2]) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(number) % 31] == code[-1]


def chinese(code: str) -> bool:
    """Resident identity number: a birthday and ISO 7064 mod 11-2."""
    total = _weighted(code[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return _day(code[10:12], code[12:14]) and "10X98765432"[total % 11] == code[17]


_SINGAPORE: Final = {"S": (0, "JZIHGFEDCBA"), "T": (4, "JZIHGFEDCBA"), "F": (0, "XWUTRQPNMLK"), "G": (4, "XWUTRQPNMLK")}


def singaporean(code: str) -> bool:
    """NRIC and FIN: weights 2 7 6 5 4 3 2; the first letter shifts and chooses the row of letters."""
    shift, letters = _SINGAPORE[code[0]]
    return letters[(_weighted(code[1:8], (2, 7, 6, 5, 4, 3, 2)) + shift) % 11] == code[8]


def british_health(code: str) -> bool:
    """NHS number: mod 11."""
    return (11 - _weighted(code[:9], range(10, 1, -1)) % 11) % 11 == int(code[9])


# Verhoeff's dihedral group D5: products, and the permutation that each place applies (Verhoeff 1969).
_TIMES: Final = tuple(
    tuple((a + b) % 5 + 5 * (b > 4) if a < 5 else (a - b) % 5 + 5 * (b < 5) for b in range(10)) for a in range(10)
)
_TURN: Final = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def verhoeff(number: str) -> bool:
    """The check digit of Aadhaar."""
    total = 0
    for place, char in enumerate(reversed(number)):
        digit = int(char)
        for _ in range(place % 8):
            digit = _TURN[digit]
        total = _TIMES[total][digit]
    return total == 0


def born_by_luhn(code: str) -> bool:
    """Swedish personnummer (YYMMDD-NNNC) and South African identity numbers: a birthday first, Luhn over all."""
    total = sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(reversed(code)))
    return _day(code[2:4], str(int(code[4:6]) % 60)) and total % 10 == 0
