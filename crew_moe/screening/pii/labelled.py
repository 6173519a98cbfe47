"""Values that only their label makes personal: "passport number: X1234567", "my driver's license is ..."."""

from __future__ import annotations

import re
from typing import Final

from crew_moe.domain.screening import PiiType
from crew_moe.screening.pii.checks import Check
from crew_moe.screening.pii.rule import DIGITS, Rule

_NUMBERED: Final = r"[ _-]?(?:number|no\b\.?|num\b|nr\b\.?|#)"
_ISSUED: Final = (
    r"(?:driver'?s?'?s?|driving)[ _-]?(?:licen[cs]e|permit|lic\.?)", r"dl\b", r"passport", r"visa (?:no|number)",
    r"(?:national|government|personal|state|citizen|voter|resident|patient|employee|student|member|customer|client"
    r"|subscriber|policy|policyholder|insurance|insured|medicare|medicaid|military|police|badge|staff|applicant|taxpayer"
    r"|tax|health|beneficiary)[ _-]?(?:id|identification|identity|insurance|card|file|registration)?(?: card)?"
    rf"(?:{_NUMBERED}|[ _-]?(?:id\b|code))",
    r"(?:identity|identification|id) (?:card|document|number|no\b\.?)", r"national id\b", r"itin\b", r"tin\b",
    r"(?:medical record|health record|medical license|dea|npi|nhs|mrn|voter|vehicle registration|licen[cs]e plate"
    r"|number plate|plate|registration|vin|bank account|account|acct|routing|sort code|swift|bic|case file|file"
    rf"|licen[cs]e|certificate){_NUMBERED}",
    r"mrn\b", r"sort code", r"licen[cs]e plate", r"aadhaa?r", r"pan card", r"pesel\b", r"bsn\b", r"cpf\b", r"cnpj\b",
    r"dni\b", r"nie\b", r"nif\b", r"curp\b", r"nino\b", r"nric\b", r"personnummer\b", r"codice fiscale",
    r"steuer-?(?:id\w*|nummer)", r"personalausweis\w*", r"reisepass\w*", r"pasaporte", r"passeport", r"passaporto",
    r"carte d'identité", r"carta d'identità", r"führerschein\w*", r"permis de conduire", r"carnet de conducir",
    r"patente di guida",
)  # fmt: skip
_FIRST: Final = "abcdefghilmnprstv"  # letters with which a label begins: most words are passed over at once
_LINK: Final = (
    r"(?:[ _-]?(?:card|number|no\b\.?|num\b|nr\b\.?|#|id\b|code|nummer|numéro|número|details))?\"?"
    r"(?:\s?(?:is|was|are|:|=|#|->|-|,|ending in|ist|es|est)){0,2}+\s{0,3}[\"'#(]?"
)
# Ordinary letters never make a number: one digit in four characters at the least, which `_number` counts.
_CODE: Final = r"(?P<value>[a-z0-9](?:[a-z0-9]|[-./ ](?=[a-z0-9])){3,28}+)"


def _number(value: str) -> int:
    """How far the number goes: groups with digits, and short groups of capitals between them."""
    end = 0
    for group in re.finditer(r"[^ ]+", value):
        if any(map(str.isdigit, group[0])):
            end = group.end()
        elif not (group[0].isupper() and len(group[0]) <= 3):
            break
    count = sum(map(str.isdigit, value[:end]))
    following = re.match(r" [A-Z](?![A-Za-z])", value[end:])  # AB 12 34 56 C
    long_enough = count >= 4 or (count >= 2 and end >= 6)
    return (end + (2 if following else 0)) if long_enough else 0


def _labelled(kind: PiiType, label: str, value: str, score: float, check: Check, *needs: str) -> Rule:
    pattern = re.compile(r"(?<![a-z0-9])" + label + _LINK + value)
    return Rule(type=kind, pattern=pattern, score=score, check=check, needs=needs, lower=True)


LABELLED: Final = (
    _labelled(PiiType.ID_NUMBER, rf"(?=[{_FIRST}])(?:{'|'.join(_ISSUED)})", _CODE, 0.9, _number, *DIGITS),
    _labelled(
        PiiType.ADDRESS,
        r"(?:zip(?: ?code)?|post(?:al)? ?code|plz|code postal|código postal)\b",
        r"(?P<value>[a-z0-9]{2,5}(?:[ -]?[a-z0-9]{2,5})?)(?!\w)",
        0.7,
        lambda value: len(value) if sum(map(str.isdigit, value)) >= 2 else 0,
        *("zip", "post", "plz"),
    ),
)
