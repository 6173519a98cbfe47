"""What the linear models see of a text: hashed n-grams of its words and characters, and which patterns occur.

    text -> windows -> n-grams of words (w,), n-grams of characters (c,), positions of patterns (p,)

Hashing is arithmetic on code points, the same on every machine and in every process; nothing is fitted. A window
holds each n-gram once, however often it occurs, and the n-grams of a kind share one unit of length: repeating and
padding inside a window move its score little, and a long text is judged by its windows, not by its mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.screening.patterns import Pattern, occurrences, words_of

Indices = NDArray[np.int64]
Hashes = NDArray[np.uint64]

BITS: Final = 18
DIMENSIONS: Final = 1 << BITS
WINDOW: Final = 1_000  # characters
STRIDE: Final = 800  # windows overlap: no sentence of 200 characters is cut in all of them
SIZES: Final = (3, 4, 5)  # of character n-grams
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio in 64 bits: odd, and without a regular pattern
_HALF: Final = np.uint64(29)
_NONE: Final = np.uint32(DIMENSIONS)  # no index
_SHIFT: Final = np.uint64(64 - BITS)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One window: distinct indices below DIMENSIONS, and the positions of the patterns that occur."""

    words: Indices
    characters: Indices
    patterns: Sequence[int]


def features(window: str, patterns: Sequence[Pattern]) -> Features:
    """What there is to see in one window of folded text."""
    words = words_of(window)
    return Features(
        words=_distinct(_word_hashes(words)),
        characters=_distinct(_character_hashes(window)),
        patterns=occurrences(patterns, window, words),
    )


def windows(folded: str) -> Iterator[tuple[int, str]]:
    """Where each overlapping piece of a folded text begins, and the piece; a short text is one piece."""
    last = max(0, len(folded) - WINDOW)
    for start in (*range(0, last, STRIDE), last):
        yield start, folded[start : start + WINDOW]


def _word_hashes(words: Sequence[str]) -> list[Hashes]:
    """One word, two and three in a row."""
    codes = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words]
    one = np.array(codes, dtype=np.uint64) * _STEP
    two = (one[:-1] ^ _HALF) * _STEP + one[1:]
    three = (two[:-1] ^ _HALF) * _STEP + one[2:]
    return [one, two, three]


def _character_hashes(window: str) -> list[Hashes]:
    """Each size is rolled out of the one before."""
    codes = np.frombuffer(window.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    rolled, found = codes, []
    for size in range(2, SIZES[-1] + 1):
        rolled = rolled[:-1] * _STEP + codes[size - 1 :]
        if size in SIZES:
            found.append(rolled)
    return found


def _distinct(hashes: list[Hashes]) -> Indices:
    mixed = np.concatenate(hashes)
    mixed = (mixed ^ (mixed >> _HALF)) * _STEP
    ordered = np.sort((mixed >> _SHIFT).astype(np.uint32))  # several times as fast as np.unique
    return ordered[np.flatnonzero(np.diff(ordered, prepend=_NONE))].astype(np.int64)
