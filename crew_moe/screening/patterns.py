"""Turns of speech by name: what a regex or a list of words finds in folded text (lower case, no accents).

Every repetition in a regex is bounded, so that each costs a constant per place where it may begin, whatever the text.
Marks are cheap to look for: a regex is tried only on a text that holds one of them. A match is a feature of a model,
not a verdict; only in a flagged text do matches become spans.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from crew_moe.screening.text import fold

MARK: Final = 4  # letters: long enough to tell, short enough for every form of a word
_WORD: Final = re.compile(r"\w+")
_MORE: Final = re.compile(r"~(\d)")


def words_of(folded: str) -> list[str]:
    """The words of a folded text, in order."""
    return _WORD.findall(folded)


def starts_of(words: Iterable[str]) -> frozenset[str]:
    """How words begin: their first letters, as many as marks have."""
    return frozenset(word[:MARK] for word in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One turn of speech: a regex behind its marks, or a list of words. `name` appears in spans.

    A text in which no word begins like one of `starts`, and which holds none of `signs`, can't match the regex.
    """

    name: str
    regex: re.Pattern[str]
    starts: frozenset[str] = frozenset()
    signs: tuple[str, ...] = ()
    words: frozenset[str] = field(default=frozenset(), repr=False)

    def occurs(self, folded: str, words: Set[str], starts: Set[str]) -> bool:
        """Whether a folded text holds it, whose distinct words, and how they begin, are given."""
        if self.words:
            return not self.words.isdisjoint(words)
        marked = not self.starts.isdisjoint(starts) or any(sign in folded for sign in self.signs)
        return marked and self.regex.search(folded) is not None

    def places(self, folded: str) -> Iterator[tuple[int, int]]:
        """Where it stands in a folded text."""
        return (found.span() for found in self.regex.finditer(folded))


def phrase(name: str, marks: str, *parts: str) -> Pattern:
    """A pattern whose parts follow each other; `marks` are beginnings of words, or signs, separated by blanks."""
    source = "".join(char if char.isascii() else fold(char) for char in "".join(parts))
    given = fold(marks).split()
    return Pattern(
        name=name,
        regex=re.compile(source),
        starts=starts_of(mark for mark in given if mark.isalnum()),
        signs=tuple(mark for mark in given if not mark.isalnum()),
    )


def vocabulary(words: str) -> frozenset[str]:
    """Folded words, given separated by blanks."""
    return frozenset(fold(words).split())


def lexicon(name: str, words: str) -> Pattern:
    """Whole words, given separated by blanks."""
    folded = vocabulary(words)
    return Pattern(name=name, words=folded, regex=re.compile(rf"\b(?:{'|'.join(sorted(folded))})\b"))


def either(words: str) -> str:
    """The source of a regex for one of these words, separated by blanks; `_` is a blank, `~3` up to three more letters.

    >>> either("rule~1 do_not")
    '(?:rule\\\\w{0,1}|do not)'
    """
    return "(?:" + "|".join(_MORE.sub(r"\\w{0,\1}", word).replace("_", " ") for word in words.split()) + ")"


def gap(words: int) -> str:
    """The source of a regex for at most so many words in between; words and what parts them are bounded too."""
    return rf"(?:\W{{1,4}}[\w'-]{{1,20}}){{0,{words}}}?\W{{1,4}}"


def occurrences(patterns: Sequence[Pattern], folded: str, words: Iterable[str]) -> list[int]:
    """The positions of the patterns that occur in a folded text of these words."""
    distinct = frozenset(words)
    starts = starts_of(distinct)
    return [position for position, one in enumerate(patterns) if one.occurs(folded, distinct, starts)]
