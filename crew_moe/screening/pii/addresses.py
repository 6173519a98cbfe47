"""Postal addresses: a street and a number, a box or a town with its code, and the lines that follow.

The search begins at numbers: hardly an address is without one, and most texts have few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

from crew_moe.domain.screening import PiiType, Span
from crew_moe.screening.pii import streets
from crew_moe.screening.pii.lexicon import clues, other_words

SCORE: Final = 0.75
WHEREABOUTS: Final = 0.55  # of a town or country where somebody says to live or go
_REACH: Final = 72

_NUMBER: Final = re.compile(
    r"(?<![\w.,$€£#%/\\=+*^@:&~({\[-])\d{1,6}[A-Za-z]?(?:[-/]\d{1,4}[A-Za-z]?)?"
    r"(?![\w%°]|[.,:]\d|\s?[=+*^<>\u00d7]|\.\w)"
)
_WORD: Final = r"[^\W\d_][\w.'\u2019-]{0,30}+"
_CAPITALS: Final = r"[^\W\d_a-z][\w.'\u2019-]{0,30}+"
_ORDINAL: Final = r"\d{1,3}(?:st|nd|rd|th)"
_FOLLOWING: Final = re.compile(
    r"\d{1,6}\w?(?:[-/]\d{1,4}\w?)?,?(?: \d{1,5}\w?)?" rf"(?P<words>(?: (?:{_ORDINAL}\b|{_WORD})){{1,6}})"
)
_PRECEDING: Final = re.compile(rf"(?:(?:{_WORD}|{_ORDINAL}) ){{1,7}}(?:nº |n° |no\. |nr\.? )?\Z")
_BEFORE: Final = re.compile(r"(?<![\w.,])\d{1,6} \Z")
_TOKEN: Final = re.compile(r"\S+")

_POSTCODE: Final = (
    r"(?:\d{4,6}(?:-\d{3,4})?|\d{3} \d{2}|\d{2}-\d{3}|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2})"
    r"(?!\w|[.,]\d)"
)
_UNIT: Final = rf"{streets.UNITS}\.? ?#?\w{{1,5}}\b\.?"
_UNITS: Final = re.compile(rf"{streets.UNITS}\.?")
_A_UNIT: Final = re.compile(rf",?\s{{1,2}}{_UNIT}")
_TOWN_AND_CODE: Final = re.compile(rf",?\s{{1,2}}(?:{_WORD}[ ]){{0,3}}{_WORD}\s{_POSTCODE}")
_MORE: Final = re.compile(
    rf"(?:\s?,?\s{{1,2}}(?:{_UNIT}|#\d{{1,5}}\b|[A-Z]{{2,3}}\b(?=,?\s\d{{4,6}}|,?\s[A-Z]|$|\n|\.)|nan\b|{_POSTCODE}"
    rf"|{_CAPITALS}(?:[ -]{_CAPITALS}){{0,3}}(?: \([^()\n]{{1,24}}\))?"
    rf"(?=\s?,|\s[A-Z]{{2,3}}\b|\s\d{{4,6}}\b|\s{_POSTCODE}|\n|\.?$))){{1,7}}+"
)
_LONE: Final = (
    # P.O. Box 149, PSC 2581, Box 0041 APO AP 32376, USNS Bergman FPO AP 93757
    re.compile(
        r"(?i)\b(?:p\.? ?o\.? ?box|postfach|boîte postale|apartado(?: de correos)?|postboks|postbus|caixa postal)"
        r" \d{1,6}\b"
    ),
    re.compile(r"(?i)\b(?:psc|unit|cmr) \d{1,5},? box \d{1,5}\s{1,3}[adf]po a[aep] \d{5}\b"),
    re.compile(rf"(?i)\bUS[A-Z]{{1,4}} {_WORD}\s{{1,3}}[adf]po a[aep] \d{{5}}\b"),
    # Springfield, IL 62704
    re.compile(rf"\b{_CAPITALS}(?: {_CAPITALS}){{0,3}},? {streets.STATES},? \d{{5}}(?:-\d{{4}})?\b"),
    # SW1A 1AA, K1A 0B1
    re.compile(r"(?<![\w-])(?:[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[ABCEGHJ-NPRSTVXY]\d[A-Z] \d[A-Z]\d)(?![\w-])"),
)
_CONTEXT: Final = re.compile(streets.CONTEXT)
_PLACE: Final = re.compile(
    rf"(?:(?<=(?:in|to|at) )|(?<=(?:from|near) )){streets.NO_DATE}{_CAPITALS}(?: {_CAPITALS}){{0,3}}+"
)
_WHEREABOUTS: Final = re.compile(streets.WHEREABOUTS)

Words = Sequence[re.Match[str]]


def find_addresses(text: str) -> Iterator[Span]:
    """Spans of addresses; they may overlap."""
    cased = not text.islower()
    for number in _NUMBER.finditer(text):
        for start, end in _around(text, number, cased=cased):
            yield _span(text, start, end)
    for pattern in _LONE:
        for found in pattern.finditer(text):
            yield _span(text, found.start(), found.end())
    for place in _PLACE.finditer(text):
        if _WHEREABOUTS.search(text[max(0, place.start() - _REACH) : place.start()].lower()):
            yield Span(start=place.start(), end=place.end(), type=PiiType.ADDRESS.value, score=WHEREABOUTS)


def _span(text: str, start: int, end: int) -> Span:
    """The span with the lines of flat, town, state and code that follow."""
    more = _MORE.match(text, end)
    return Span(start=start, end=end if more is None else more.end(), type=PiiType.ADDRESS.value, score=SCORE)


def _around(text: str, number: re.Match[str], *, cased: bool) -> Iterator[tuple[int, int]]:
    """Streets to which a number belongs: 24 Clarke Avenue, Rue Dielhère 130."""
    following = _FOLLOWING.match(text, number.start())
    if following is not None:
        words = [*_TOKEN.finditer(text, *following.span("words"))]
        end = _street_end(text, number.start(), words, cased=cased)
        if end is not None:
            yield number.start(), end
    if text[number.start() - 1 : number.start()] != " ":
        return
    preceding = _PRECEDING.search(text, max(0, number.start() - _REACH), number.start())
    if preceding is not None:
        words = [*_TOKEN.finditer(text, preceding.start(), number.start())]
        start = _street_start(text, words, number.end(), cased=cased)
        if start is not None:
            before = _BEFORE.search(text, max(0, start - 8), start)  # 6185 Pfarrgasse 91: a number at either end
            yield (start if before is None else before.start()), number.end()


def _street_end(text: str, start: int, words: Words, *, cased: bool) -> int | None:
    """Where the street ends whose name follows its number; None when what follows is none."""
    first = _bare(words[0][0])
    if first in clues("street first") and len(first) > 2:
        named = _named(words[1:], cased=cased)
        if named:
            return words[named].end()
    for nth, word in enumerate(words[1:], 1):
        if _bare(word[0]) in clues("street last") and _named(words[:nth], cased=cased) == nth:
            return word.start() + len(word[0].rstrip(",;"))
    named = _named([*takewhile(lambda word: not _UNITS.fullmatch(word[0]), words)], cased=cased)
    end = words[named - 1].end()
    return end if cased and named and _likely(text, start, end) else None


def _street_start(text: str, words: Words, end: int, *, cased: bool) -> int | None:
    """Where the street begins whose number comes last; None when the words before the number name none."""
    last, count = words[-1], len(words)
    for nth in range(count - 1):
        if _bare(words[nth][0]) in clues("street first") and _named(words[nth + 1 :], cased=cased) == count - nth - 1:
            return words[nth].start()
    if count > 1 and _bare(last[0]) in clues("street last") and _is_name(words[-2], cased=cased):
        return words[-2].start()
    if len(last[0]) > 6 and last[0].lower().endswith(streets.ENDINGS) and _is_name(last, cased=cased):
        return last.start()
    if not cased:
        return last.start() if _followed(text, end) else None
    return _likely_start(text, words, end)


def _likely_start(text: str, words: Words, end: int) -> int | None:
    """Where the longest run of capitalised words begins that reaches the number, if it is likely to be a street."""
    for nth, word in enumerate(words):
        if word[0][0].isupper() and _named(words[nth:], cased=True) == len(words) - nth:
            return word.start() if _likely(text, word.start(), end) else None
    return None


def _is_name(word: re.Match[str], *, cased: bool) -> bool:
    return not cased or word[0][0].isupper() or word[0][0].isdigit()


def _named(words: Words, *, cased: bool) -> int:
    """How many of the words make a name: capitalised ones and the small words between them."""
    count = 0
    for nth, word in enumerate(words, 1):
        if _is_name(word, cased=cased):
            count = nth
            if word[0][-1] in ",;.:?!" and len(word[0]) > 3:
                break
        elif _bare(word[0]) not in clues("street small"):
            break
    return count


def _likely(text: str, start: int, end: int) -> bool:
    """Whether something beside a name and a number tells a street: a flat, a town with its code, a word before it."""
    names = [word for word in text[start:end].split() if word[0].isupper()]
    if any(len(name) < 3 or _bare(name) in other_words() for name in names):
        return False
    return _followed(text, end) or bool(_CONTEXT.search(text[max(0, start - _REACH) : start].lower()))


def _followed(text: str, end: int) -> bool:
    return bool(_A_UNIT.match(text, end) or _TOWN_AND_CODE.match(text, end))


def _bare(word: str) -> str:
    return word.lower().rstrip(".,;")
