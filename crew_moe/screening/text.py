"""One plain form of a text, whatever Unicode it hides behind, and the way back to the offsets of the original.

Each character is folded by itself: compatibility forms (full-width, mathematical, circled) become plain letters,
accents go, look-alikes of other scripts become the Latin letter that a reader sees, invisible characters vanish, and
the invisible "tag" alphabet becomes the ASCII that it spells. That is one table look-up per character, hence linear.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

import numpy as np

_TAGS: Final = range(0xE0000, 0xE0080)  # an invisible copy of ASCII, used to smuggle instructions
_REMEMBERED: Final = 16_384  # folded characters kept; a hostile text can't fill the memory with all of Unicode
_INVISIBLE: Final = frozenset({"Cf", "Cc", "Mn", "Me", "Cs", "Co", "Cn"})

# Letters that look like a Latin one and that Unicode does not decompose into it.
_LOOKS: Final = {
    "a": "\u0430\u0251\u03b1\u1d00\uab7a", "b": "\u044c\u0185\u0299\u13fc", "c": "\u0441\u03f2\u1d04\u217d\uabaf",
    "d": "\u0501\u0257\u1d05\u217e", "e": "\u0435\u0454\u03b5\u1d07\u04bd\u212e", "f": "\u0493\ua730\u0192",
    "g": "\u0261\u0262\u050d\u0581", "h": "\u04bb\u043d\u029c\u0570",
    "i": "\u0456\u0131\u03b9\u026a\u04cf\u01c0\u2170", "j": "\u0458\u03f3\u1d0a", "k": "\u043a\u03ba\u1d0b",
    "l": "\u029f\u217c", "m": "\u043c\u1d0d\u217f", "n": "\u0578\u043f\u03b7\u0274",
    "o": "\u043e\u03bf\u03c3\u0585\u1d0f\u04e9", "p": "\u0440\u03c1\u1d18", "q": "\u051b\u0566",
    "r": "\u0433\u0280\u1d26", "s": "\u0455\ua731\u0282", "t": "\u0442\u03c4\u1d1b", "u": "\u03c5\u057d\u1d1c\u028b",
    "v": "\u0475\u03bd\u1d20\u2174", "w": "\u051d\u03c9\u1d21\u0461", "x": "\u0445\u03c7\u2179",
    "y": "\u0443\u04af\u028f\u03b3", "z": "\u1d22\u0290", "ss": "\u00df", "ae": "\u00e6", "oe": "\u0153",
    "'": "\u2019\u2018`\u00b4\u02bc", '"': "\u201c\u201d\u201e\u00ab\u00bb",
    "-": "\u2013\u2014\u2010\u2011\u2012\u2015\u2212",
}  # fmt: skip
_PLAIN: Final = {look: letter for letter, looks in _LOOKS.items() for look in looks}
_SQUARED: Final = {chr(start + i): chr(ord("a") + i) for start in (0x1F130, 0x1F150, 0x1F170) for i in range(26)}


def _folded(code: int) -> str:
    """What one character becomes: lower-case, often itself, sometimes nothing, rarely several."""
    if code in _TAGS:
        return chr(code - _TAGS.start).lower() if code - _TAGS.start >= ord(" ") else ""
    char = chr(code)
    if char.isspace():
        return " "
    known = _PLAIN.get(char.lower()) or _SQUARED.get(char)
    if known is not None:
        return known
    parts = unicodedata.normalize("NFKD", char).lower()
    return "".join(_PLAIN.get(part, part) for part in parts if unicodedata.category(part) not in _INVISIBLE)


class _Table(dict[int, str]):
    """`str.translate`'s table, filled as characters turn up."""

    def __missing__(self, code: int) -> str:
        folded = _folded(code)
        if len(self) < _REMEMBERED:
            self[code] = folded
        return folded


_TABLE: Final = _Table()


def fold(text: str) -> str:
    """The plain, lower-case form of a text.

    >>> fold("\\uff29gn\\u043er\\u0435\\u200b THIS, please")
    'ignore this, please'
    """
    return text.translate(_TABLE)


def origin(text: str) -> Callable[[int], int]:
    """Tells for a position in `fold(text)` where in the text it came from.

    >>> origin("a\\u200bb\\u00dfc")(2), origin("a\\u200bb\\u00dfc")(4)
    (3, 4)
    """
    if text.isascii() and len(fold(text)) == len(text):
        return int
    lengths = np.fromiter((len(_TABLE[ord(char)]) for char in text), dtype=np.uint8, count=len(text))
    ends = np.cumsum(lengths, dtype=np.int64)
    return lambda position: int(np.searchsorted(ends, position, side="right"))
