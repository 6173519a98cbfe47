"""How people are reached: e-mail, telephone and network addresses."""

from __future__ import annotations

import re
from typing import Final

from crew_moe.domain.screening import PiiType
from crew_moe.screening.pii.checks import digits, ipv4, ipv6
from crew_moe.screening.pii.rule import DIGITS, Rule, words

_LOCAL: Final = r"(?<![\w.+%-])[\w+%-][\w+%'-]{0,63}+(?:\.[\w+%'-]{1,63}+){0,8}+"
_TLD: Final = (
    r"(?:com|org|net|edu|gov|io|co|info|biz|de|fr|es|it|nl|uk|eu|us|ca|au|ch|at|be|se|pl|ru|jp|br|in|me|dev|ai)"
)

EMAILS: Final = (
    Rule(
        type=PiiType.EMAIL,
        pattern=re.compile(_LOCAL + r"@(?:[\w-]++\.){1,8}[^\W\d_]{2,24}+(?![\w-])"),
        score=0.95,
        needs=("@",),
    ),
    Rule(  # torn at the @ by a line's end or spaces
        type=PiiType.EMAIL,
        pattern=re.compile(_LOCAL + r"(?:\s{1,3}@\s{0,3}|@\s{1,3})(?:[\w-]++\.){1,8}" + _TLD + r"\b"),
        score=0.7,
        needs=("@",),
    ),
    Rule(  # n a m e @ e x a m p l e . c o m
        type=PiiType.EMAIL,
        pattern=re.compile(r"(?<!\S)(?:[\w.+-] ){2,64}+@(?: [\w-]){2,64}+ \.(?: \w){2,8}+(?!\S\S)"),
        score=0.8,
        needs=(" @ ",),
    ),
    Rule(  # name [at] example [dot] com
        type=PiiType.EMAIL,
        pattern=re.compile(
            _LOCAL + r"\s{0,2}[\[({<]\s{0,2}(?:at|AT|@)\s{0,2}[\])}>]\s{0,2}[\w-]++"
            r"(?:(?:\s{0,2}[\[({<]\s{0,2}(?:dot|DOT|\.)\s{0,2}[\])}>]\s{0,2}|\.)[\w-]++){1,5}+"
        ),
        score=0.85,
        needs=("at", "@"),
    ),
    Rule(  # name at example dot com
        type=PiiType.EMAIL,
        pattern=re.compile(_LOCAL + r"(?: dot [\w-]++){0,3}+ (?:at|AT) [\w-]++(?: (?:dot|DOT) [\w-]++){1,4}+"),
        score=0.7,
        needs=(" dot ",),
    ),
)  # fmt: skip

_CALLING: Final = words(
    "phones?", "telephones?", "tele", "tel", "call", "called", "calling", "mobile", "mob", "cell", "cellphone",
    "fax", "office", "desk", "home", "work", "landline", "hotline", "extension", "ext", "dial", "ring",
    "text me", "sms", "whatsapp", "telegram", "signal", "viber", "contact", "reach", "answering", "number is",
    "numbers? for", "(?:my|his|her|their|your|phone) number", "telefon", "handy", "téléphone", "tél",
    "portable", "teléfono", "telefono", "móvil", "celular", "cellulare", "telefoon", "telefone", "telemóvel",
    "puhelin", "matkapuhelin", "numer", "numéro",
)  # fmt: skip
_COUNTING: Final = words(
    r"version", r"isbn", r"issn", r"order", r"invoice", r"tracking", r"serial", r"part", r"model", r"port", r"line",
    r"lines", r"page", r"pages", r"usd", r"eur", r"price", r"total", r"sum", r"population", r"zip", r"postcode", r"ssn",
    r"passport", r"licen[cs]e", r"account", r"iban", r"card", r"credit", r"social security", r"digits?", r"integers?",
    r"equation", r"solve", r"calculate", r"id\b",
)  # fmt: skip


def _phone(value: str) -> int:
    """As many digits as a subscriber may have (E.164: 15), and no date or clock time."""
    count = len(digits(value))
    return len(value) if 6 <= count <= 15 and not _DATE.fullmatch(value.strip()) else 0


_DATE: Final = re.compile(
    r"(?:1[5-9]|20)\d\d[-/. ](?:0?[1-9]|1[0-2])[-/. ](?:0?[1-9]|[12]\d|3[01])(?:[ T]\d\d)?"
    r"|(?:0?[1-9]|[12]\d|3[01])[-/. ](?:0?[1-9]|[12]\d|3[01])[-/. ](?:1[5-9]|20)\d\d(?:[ T]\d\d)?"
    r"|(?:1[5-9]|20)\d\d ?[-/ ] ?(?:1[5-9]|20)\d\d"
)
_OPEN: Final = r"(?<![\w.,$€£#^*/=<>+-])(?<!\d )(?<!\w\()(?<![({\[]\d)"
_SHUT: Final = r"(?![\w%°]|[.,/*^=-]\d|\s?[*^=<>])"
_GAP: Final = r"(?:[ .\-\u2009]|\r?\n[ \t]?)"
_EXTENSION: Final = r"(?:\s?(?:x|ext\.?|extension)\s?\d{1,6}+)?+"

PHONES: Final = (
    Rule(  # +41 (0)38 549 02 90, 001-253-366-9781
        type=PiiType.PHONE,
        pattern=re.compile(
            r"(?<![\w.+^*/=-])(?:\+ ?|00" + _GAP + r"?)[1-9]\d{0,2}+" + _GAP + r"?(?:\(\d{1,5}\)" + _GAP + r"?)?"
            r"(?:\d{1,14}+(?:[ ./\-]{1,2}|\r?\n[ \t]?)?){1,7}(?<=\d)" + _EXTENSION + _SHUT
        ),
        check=lambda value: _phone(value) if len(digits(value)) >= 8 else 0,
        needs=DIGITS,
        score=0.8,
    ),
    Rule(  # (602) 272-9781, 259.735.7502x459, 1-604-696-5272
        type=PiiType.PHONE,
        pattern=re.compile(
            _OPEN + r"(?:1[-. ])?(?:\([2-9]\d\d\)[ .\-]?|[2-9]\d\d[.\-])[2-9]?\d\d[.\- ]\d{4}" + _EXTENSION + _SHUT
        ),
        check=_phone,
        needs=DIGITS,
        score=0.7,
        against=words("isbn", "tracking", "serial", "order"),
    ),
    Rule(  # 212 555 0187
        type=PiiType.PHONE,
        pattern=re.compile(_OPEN + r"[2-9]\d\d" + _GAP + r"\d{3}" + _GAP + r"\d{4}" + _EXTENSION + _SHUT + r"(?! \d)"),
        check=_phone,
        needs=DIGITS,
        score=0.55,
        near=_CALLING,
        against=_COUNTING,
    ),
    Rule(  # 0483 84 44 50, 03.93.92.16.85, 0341 8387176, (0341) 8387176: a trunk 0 leads
        type=PiiType.PHONE,
        pattern=re.compile(
            _OPEN + r"(?:\(0\d{1,5}\)|0\d{1,5})(?:[ /.\-]{1,2}|\r?\n)\d{2,8}(?:" + _GAP + r"\d{2,8}){0,4}+" + _SHUT
        ),
        check=lambda value: _phone(value) if 9 <= len(digits(value)) <= 12 else 0,
        needs=DIGITS,
        score=0.55,
        near=_CALLING,
        against=_COUNTING,
    ),
    Rule(  # (72) 754-186
        type=PiiType.PHONE,
        pattern=re.compile(_OPEN + r"\(\d{2,5}\) ?\d{2,4}[ -]\d{2,5}(?:[ -]\d{2,4})?+" + _SHUT),
        check=_phone,
        needs=DIGITS,
        score=0.5,
        near=_CALLING,
        against=_COUNTING,
    ),
    Rule(  # 71-33-52-22, 451 5986, 99 577450: nothing but digits, so somebody must say what it is
        type=PiiType.PHONE,
        pattern=re.compile(_OPEN + r"\d{2,5}(?:[ .\-]\d{2,6}){1,5}+" + _SHUT),
        check=_phone,
        needs=DIGITS,
        score=0.3,
        near=_CALLING,
        against=_COUNTING,
    ),
    Rule(
        type=PiiType.PHONE,
        pattern=re.compile(_OPEN + r"\d{7,14}+" + _EXTENSION + _SHUT),
        check=_phone,
        needs=DIGITS,
        score=0.3,
        near=_CALLING,
        against=_COUNTING,
    ),
)  # fmt: skip

_RELEASE: Final = words("version", "release", "v", "python", "node", "firmware", "section", "chapter", "clause")

HOSTS: Final = (
    Rule(
        type=PiiType.IP,
        pattern=re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)"),
        check=ipv4,
        score=0.7,
        needs=(".",),
        against=_RELEASE,
    ),
    Rule(
        type=PiiType.IP,
        pattern=re.compile(
            r"(?<![\w:.])(?=[0-9a-fA-F:]{0,40}+(?:[^\w:]|$|\.))(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])"
        ),
        check=ipv6,
        score=0.8,
        needs=(":",),
    ),
)  # fmt: skip
