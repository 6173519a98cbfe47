"""Made-up words to practise on, and which of them are kept out of practice."""

from __future__ import annotations

from random import Random
from typing import Final
from zlib import crc32

VOWELS: Final = "aeiou"
CONSONANTS: Final = "bcdfghjklmnpqrstvwxyz"
LETTERS: Final = VOWELS + CONSONANTS
LONGEST: Final = 8

_KEPT_OUT: Final = 8  # one word in so many
_NUMBERS: Final = 0.05
_JUMBLES: Final = 0.35  # words that nobody could pronounce, so that every pair of letters is practised
_LOWER: Final = 0.6
_CAPITALISED: Final = 0.9


def is_held_out(word: str) -> bool:
    """Whether the word, in any case, is for measuring alone: a property of its letters, so no list can overlap."""
    return crc32(word.lower().encode()) % _KEPT_OUT == 0


def word(rng: Random, *, held_out: bool, longest: int = LONGEST) -> str:
    """A word of 2 to `longest` letters, or sometimes a number; in lower case, capitalised or in capitals."""
    while True:
        made = _any_word(rng, longest)
        if is_held_out(made) == held_out:
            return made


def _any_word(rng: Random, longest: int) -> str:
    kind, case = rng.random(), rng.random()
    if kind < _NUMBERS:
        return str(rng.randrange(10_000))
    letters = _jumble(rng, longest) if kind < _NUMBERS + _JUMBLES else _syllables(rng, longest)
    if case < _LOWER:
        return letters
    return letters.capitalize() if case < _CAPITALISED else letters.upper()


def _jumble(rng: Random, longest: int) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(2, longest)))


def _syllables(rng: Random, longest: int) -> str:
    """Vowels and consonants in turn, now and then two of a kind."""
    length, letters, vowel = rng.randint(2, longest), "", rng.random() < 0.4
    while len(letters) < length:
        letters += rng.choice(VOWELS if vowel else CONSONANTS)
        if rng.random() < 0.85:
            vowel = not vowel
    return letters
