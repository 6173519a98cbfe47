"""How many characters of each kind a text has: one look-up per character, done by numpy."""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

WIDE: Final = 0x2E80  # from here on (in the main) a character is a syllable or a word of its own


class Kind(IntEnum):
    """What a character is; each is of one kind."""

    LOWER = 0  # letters without case among them
    UPPER = 1
    DIGIT = 2
    SPACE = 3
    PROSE_MARK = 4  # . , ; : ! ?
    QUOTE = 5
    BRACKET = 6
    OPERATOR = 7
    SLASH = 8  # both slashes, backticks, underscores, # $ @
    OTHER = 9
    CONTROL = 10


_ASCII: Final = {
    **dict.fromkeys(".,;:!?", Kind.PROSE_MARK),
    **dict.fromkeys("\"'", Kind.QUOTE),
    **dict.fromkeys("()[]{}<>", Kind.BRACKET),
    **dict.fromkeys("=+-*%&|^~", Kind.OPERATOR),
    **dict.fromkeys("/\\`_#$@", Kind.SLASH),
}
_BEYOND: Final = {
    **dict.fromkeys("\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb", Kind.QUOTE),
    **dict.fromkeys("\u3002\uff0c\u3001\uff01\uff1f\uff1b\uff1a\u2026\u2013\u2014\u00bf\u00a1", Kind.PROSE_MARK),
}
_LAST: Final = 0xFFFF  # no character; those beyond the basic plane, emoji most of them, count as it


def census(text: str) -> tuple[NDArray[np.int64], int, int]:
    """Characters by Kind, how many are not ASCII, and how many are wide; linear, for any str."""
    if text.isascii():
        raw = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        return np.bincount(raw, minlength=128) @ _ASCII_KINDS, 0, 0
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    kinds = np.bincount(_all_kinds()[np.minimum(codes, _LAST)], minlength=len(Kind))
    return kinds, int(np.count_nonzero(codes >= 128)), int(np.count_nonzero(codes >= WIDE))


def _kind(character: str) -> Kind:
    if character.isspace():
        return Kind.SPACE
    if character.isalpha():
        return Kind.UPPER if character.isupper() else Kind.LOWER
    if character.isdigit():
        return Kind.DIGIT
    found = _ASCII.get(character) or _BEYOND.get(character)
    if found is not None:
        return found
    return Kind.OTHER if character.isprintable() else Kind.CONTROL


_ASCII_KINDS: Final = np.eye(len(Kind), dtype=np.int64)[[_kind(chr(code)) for code in range(128)]]  # (128, kinds)


@cache
def _all_kinds() -> NDArray[np.uint8]:
    """The kind of each code point of the basic plane; made for the first text that is not ASCII."""
    return np.array([*(_kind(chr(code)) for code in range(_LAST)), Kind.OTHER], dtype=np.uint8)
