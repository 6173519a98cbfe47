"""Numbers that somebody issued to one person: cards, accounts, social security, identity and tax numbers."""

from __future__ import annotations

import re
from typing import Final

from crew_moe.domain.screening import THRESHOLD, PiiType
from crew_moe.screening.pii import national
from crew_moe.screening.pii.checks import Check, card, debit_card, iban, itin, ssn, whole
from crew_moe.screening.pii.rule import DIGITS, Rule, words

_OPEN: Final = r"(?<![\w.,$€£#^*/=+-])"
_SHUT: Final = r"(?![\w%]|[.,]\d|-\w)"
_GAP: Final = r"(?:[ \t.\-]{0,2}(?:\r?\n[ \t]{0,4})?)"

_PAYING: Final = words(
    "card", "cards", "credit", "debit", "cc", "ccn", "visa", "mastercard", "master card", "maestro", "amex",
    "american express", "discover", "diners", "jcb", "unionpay", "payment", "charge", "charged", "pay",
    "billing", "cvv", "cvc", "expir", "carte", "karte", "kreditkarte", "tarjeta", "carta", "cartão", "kaart",
    "kort", "block", "atm", "bank",
)  # fmt: skip
_GOODS: Final = words(
    "isbn", "imei", "tracking", "serial", "order", "ean", "gtin", "barcode", "timestamp", "integer", "prime"
)

CARDS: Final = (
    Rule(
        type=PiiType.CREDIT_CARD,
        pattern=re.compile(_OPEN + r"\d(?:" + _GAP + r"\d){11,18}"),
        check=card,
        score=0.75,
        near=_PAYING,
        against=_GOODS,
        needs=DIGITS,
    ),
    Rule(
        type=PiiType.CREDIT_CARD,
        pattern=re.compile(_OPEN + r"\d(?:" + _GAP + r"\d){11,18}"),
        check=debit_card,
        score=0.4,
        near=_PAYING,
        against=_GOODS,
        needs=DIGITS,
    ),
)

IBANS: Final = (
    Rule(
        type=PiiType.IBAN,
        pattern=re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?:[ \-]?(?:\r?\n[ \t]{0,4})?[A-Za-z0-9]){11,30}"),
        check=iban,
        score=0.95,
        needs=DIGITS,
    ),
)

_SOCIAL: Final = words(
    "ssn", "social", "soc sec", "ss#", "ss #", "ss number", "ss no", "tax", "w-2", "w2", "1099", "last four"
)

SOCIAL: Final = (
    Rule(
        type=PiiType.SSN,
        pattern=re.compile(_OPEN + r"\d{3}-\r?\n?\d{2}-\r?\n?\d{4}" + _SHUT),
        check=whole(ssn),
        score=0.75,
        near=_SOCIAL,
        against=words("tracking", "part", "order", "driver", "licen[cs]e", "phone", "call"),
        needs=DIGITS,
    ),
    Rule(
        type=PiiType.SSN,
        pattern=re.compile(_OPEN + r"(?:\d{3}\s{0,2}[-. ]?\s{0,2}\d{2}\s{0,2}[-. ]?\s{0,2}\d{4})" + _SHUT),
        check=whole(ssn),
        score=0.3,
        near=_SOCIAL,
        needs=DIGITS,
    ),
    Rule(
        type=PiiType.ID_NUMBER,
        pattern=re.compile(_OPEN + r"9\d{2}([- ]?)\d{2}\1\d{4}" + _SHUT),
        check=whole(itin),
        score=0.3,
        near=words("itin", "taxpayer", "tax id", "tin"),
        needs=("tin", "tax"),
    ),
)


_BORN: Final = r"\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # YYMMDD
_FRENCH: Final = r"[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d"
_BRITISH: Final = r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]"


def _identity(pattern: str, check: Check, score: float, *near: str) -> Rule:
    return Rule(
        type=PiiType.ID_NUMBER,
        pattern=re.compile(_OPEN + r"(?:" + pattern + r")" + _SHUT),
        check=check,
        score=score,
        near=words(*near),
        needs=near if score < THRESHOLD else DIGITS,  # without such a word the score stays below the threshold
    )


IDENTITIES: Final = (
    # forms that hardly anything else has, with a check digit
    _identity(r"\d{8}[- ]?[A-HJ-NP-TV-Z]", whole(national.spanish), 0.7, "dni", "nif"),
    _identity(r"[XYZ][- ]?\d{7}[- ]?[A-HJ-NP-TV-Z]", whole(national.spanish), 0.7, "nie"),
    _identity(r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]", whole(national.italian), 0.9, "codice fiscale"),
    _identity(r"\d{3}\.\d{3}\.\d{3}-\d{2}", whole(national.brazilian), 0.85, "cpf"),
    _identity(_BORN + r"[-+]\d{4}", whole(national.born_by_luhn), 0.6, "personnummer"),
    _identity(r"\d{6}[-+A-F]\d{3}[0-9A-FHJ-NPR-Y]", whole(national.finnish), 0.6, "hetu", "henkilötunnus"),
    _identity(r"[STFG]\d{7}[A-Z]", whole(national.singaporean), 0.8, "nric", "fin"),
    _identity(r"\d{6}(?:19|20)" + _BORN + r"\d{3}[\dXx]", whole(national.chinese), 0.85, "身份证"),
    _identity(_FRENCH, whole(national.french), 0.75, "sécurité sociale", "nir", "insee"),
    # forms of their own without one
    _identity(_BRITISH, len, 0.7, "ni", "national"),
    _identity(r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]", len, 0.6, "pan", "income tax"),
    _identity(_BORN + r"-[1-4]\d{6}", len, 0.7, "주민"),
    _identity(r"[A-Z][AEIOUX][A-Z]{2}" + _BORN + r"[HM][A-Z]{5}[A-Z0-9]\d", len, 0.9, "curp"),
    # nothing but digits: a word must say what they are
    _identity(r"\d{4} \d{4} \d{4}|\d{12}", whole(national.verhoeff), 0.3, "aadhaar", "aadhar", "uidai", "uid"),
    _identity(r"\d{11}", whole(national.polish), 0.3, "pesel"),
    _identity(r"\d{11}", whole(national.brazilian), 0.3, "cpf", "cadastro"),
    _identity(r"\d{2} ?\d{3} ?\d{3} ?\d{3}", whole(national.german), 0.3, "steuer", "idnr", "tax id"),
    _identity(r"\d{9}|\d{4}[. ]\d{2}[. ]\d{3}", whole(national.dutch), 0.3, "bsn", "sofi", "burgerservice"),
    _identity(r"\d{3}[ -]?\d{3}[ -]?\d{4}", whole(national.british_health), 0.3, "nhs"),
    _identity(r"\d{3}[ -]?\d{3}[ -]?\d{3}", len, 0.3, "sin", "social insurance", "tfn", "tax file"),
    _identity(_BORN + r"[ -]?\d{4}(?: ?\d{3})?", whole(national.born_by_luhn), 0.3, "personnummer", "id number"),
)
