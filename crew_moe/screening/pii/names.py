"""Names of persons: runs of capitalised words, and given names where a writer uses no capitals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from crew_moe.domain.screening import THRESHOLD, PiiType, Span
from crew_moe.screening.pii.evidence import PARTICLES, bare, introduced, probability, weigh, words_before
from crew_moe.screening.pii.lexicon import clues, given_names, other_words, surnames

_APOSTROPHES: Final = "'\u2019"
_WORD: Final = rf"[^\W\d_]*+(?:[{_APOSTROPHES}-][^\W\d_]++)*+"
_CAPITAL: Final = r"[^\W\d_a-zß-öø-ÿ]" + _WORD
_PARTICLES: Final = rf"(?:(?:{'|'.join(sorted(PARTICLES))}) ){{0,2}}"
_FREE: Final = r"(?<![\w@#./\\$=<&%*~^{])"  # no piece of an address, a tag, a formula or a program
_RUN: Final = re.compile(_FREE + _CAPITAL + r"(?:(?:(?<![^\W_]{2})\.)? " + _PARTICLES + _CAPITAL + r"){0,7}+")
_TOKEN: Final = re.compile(r"[^\W\d_]" + _WORD)
_SMALL: Final = re.compile(_FREE + r"[^\W\d_]" + _WORD)
_NEXT: Final = re.compile(r" (?:[^\W\d_]\.? )?([^\W\d_]" + _WORD + r")")
_PROGRAM: Final = re.compile(r"[\w(=\[{/\\@]|\.\w|::|->")
_POSSESSIVE: Final = tuple(f"{apostrophe}s" for apostrophe in _APOSTROPHES)

Words = Sequence[re.Match[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A run of words that may be somebody's name, and what speaks for and against it."""

    start: int
    end: int
    evidence: frozenset[str]

    @property
    def score(self) -> float:
        return probability(self.evidence)


def find_names(text: str) -> Iterator[Span]:
    """Spans of names that reach the threshold, in the order of the text."""
    for found in candidates(text):
        if found.score >= THRESHOLD:
            yield Span(start=found.start, end=found.end, type=PiiType.PERSON.value, score=round(found.score, 2))


def candidates(text: str) -> Iterator[Candidate]:
    """Every run that is looked at, in the order of the text."""
    if text.islower():
        yield from _small(text)
        return
    for run in _RUN.finditer(text):
        if not _PROGRAM.match(text, run.end()):
            yield from _parts(text, run.start(), run.end())


def _parts(text: str, start: int, end: int) -> Iterator[Candidate]:
    """The pieces of a run between words that belong to no name: "Producer Ann Lee Says" has one."""
    piece: list[re.Match[str]] = []
    for token in _TOKEN.finditer(text, start, end):
        if _belongs(text, piece, token):
            piece.append(token)
            if not token[0].endswith(_POSSESSIVE):
                continue
        yield from _weighed(text, piece)
        piece = []
    yield from _weighed(text, piece)


def _belongs(text: str, piece: Words, token: re.Match[str]) -> bool:
    """Whether a word may go on, or begin, a name."""
    word = token[0]
    if not word[0].isupper() and word not in PARTICLES:  # a small letter of another alphabet than ASCII
        return False
    if not piece:
        return _begins(word) or (bare(word) in surnames() and bool(introduced(words_before(text, token.start()))))
    if bare(word) not in other_words() or len(word) == 1:
        return True
    return bare(word) in surnames() and bare(piece[0][0]) in given_names()


def _begins(word: str) -> bool:
    """Whether a name may begin with a word: "Miss" and "Producer" stand before names, but belong to none."""
    folded = bare(word)
    return not (word in PARTICLES or folded in clues("titles") or folded in clues("roles") or folded in other_words())


def _small(text: str) -> Iterator[Candidate]:
    """Names in a text without capitals: a given name, or a word that is introduced, and perhaps one more."""
    taken = 0
    for token in _SMALL.finditer(text):
        if token.start() < taken or _PROGRAM.match(text, token.end()):
            continue
        word = bare(token[0])
        if word in given_names() or (word not in other_words() and introduced(words_before(text, token.start()))):
            more = _NEXT.match(text, token.end())
            taken = more.end() if more is not None and _goes_on(more[1]) else token.end()
            yield from _weighed(text, [*_TOKEN.finditer(text, token.start(), taken)], "small")


def _goes_on(word: str) -> bool:
    return bare(word) not in other_words() and not word.endswith(("ing", "ed", "ly"))


def _weighed(text: str, words: Words, *more: str) -> Iterator[Candidate]:
    """The candidate that these words are, without initials and particles at their end."""
    while words and (len(words[-1][0]) == 1 or words[-1][0] in PARTICLES):
        words = words[:-1]
    if not words:
        return
    owning = ("owning",) if words[-1][0].endswith(_POSSESSIVE) else ()
    start, end = words[0].start(), words[-1].end() - 2 * len(owning)
    yield Candidate(start=start, end=end, evidence=weigh(text, start, end, [word[0] for word in words], *more, *owning))
