"""Word lists: given names, family names, capitalised words that are neither, and words that stand beside all of them.

They are read when first asked for. Names are compared folded: lower case, accents and the bars of ł, ø and đ gone.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

_BARS: Final = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ß": "ss", "æ": "ae", "œ": "oe", "\u0131": "i", "\u2019": "'"}
)


def fold(word: str) -> str:
    """A word as the lists spell it.

    >>> fold("Łucja"), fold("Guðbjörg")
    ('lucja', 'gudbjorg')
    """
    lower = word.lower()
    if lower.isascii():
        return lower
    letters = unicodedata.normalize("NFKD", lower.translate(_BARS))
    return "".join(char for char in letters if not unicodedata.combining(char))


@cache
def given_names() -> frozenset[str]:
    """Given names that hardly mean anything else."""
    return frozenset(name for name in _words("given_names") - doubtful_names() if len(name) > 2)


@cache
def doubtful_names() -> frozenset[str]:
    """Given names that are as often a word, a place or a month."""
    given = _words("given_names")
    return (given & (_words("names_that_are_words") | other_words())) | {name for name in given if len(name) <= 2}


@cache
def surnames() -> frozenset[str]:
    """Family names without an ending that tells them."""
    return _words("surnames")


@cache
def other_words() -> frozenset[str]:
    """Words whose capital does not make them names of persons."""
    return _words("other_words")


@cache
def clues(section: str) -> frozenset[str]:
    """The words of one section of clues.txt; an unknown section is a KeyError."""
    return _sections()[section]


@cache
def _sections() -> dict[str, frozenset[str]]:
    blocks = _read("clues").split("\n[")[1:]
    named = (block.partition("]\n") for block in blocks)
    return {name: frozenset(word.replace("_", " ") for word in _uncommented(body)) for name, _, body in named}


@cache
def _words(name: str) -> frozenset[str]:
    return frozenset(_uncommented(_read(name)))


def _read(name: str) -> str:
    return (files(__name__) / f"{name}.txt").read_text(encoding="utf-8")


def _uncommented(text: str) -> list[str]:
    return [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]
