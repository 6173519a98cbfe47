"""A text as the patterns see it: disguises taken off, every character still traceable to where it came from.

Fullwidth and styled letters, digits of other scripts, odd spaces and dashes become their ASCII counterparts one for
one; characters that nobody sees (zero-width, direction marks, soft hyphens) are dropped, their places remembered.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e01ef]"
)


_REMEMBERED: Final = 16_384  # a hostile text can't fill the memory with all of Unicode


class _Twins(dict[int, str]):
    """Code point -> the one character it stands for; looked up when a text first holds it."""

    def __missing__(self, point: int) -> str:
        twin = _twin(chr(point))
        if len(self) < _REMEMBERED:
            self[point] = twin
        return twin


def _twin(char: str) -> str:
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if category == "Pd" or char == "\u2212":  # the minus sign is no dash to Unicode
        return "-"
    compatible = unicodedata.normalize("NFKC", char)
    return compatible if len(compatible) == 1 and compatible.isascii() else char


_TWINS: Final = _Twins()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """`text` to search in; `dropped` holds for every invisible character the offset in `text` before which it stood."""

    text: str
    dropped: tuple[int, ...] = ()

    @classmethod
    def of(cls, original: str) -> Plain:
        if original.isascii():
            return cls(text=original)
        dropped = tuple(found.start() - nth for nth, found in enumerate(INVISIBLE.finditer(original)))
        visible = INVISIBLE.sub("", original) if dropped else original
        return cls(text=visible.translate(_TWINS), dropped=dropped)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Offsets in the original text of the characters `start` to `end` (exclusive) of this one; start < end."""
        if not self.dropped:
            return start, end
        return start + bisect_right(self.dropped, start), end + bisect_right(self.dropped, end - 1)
