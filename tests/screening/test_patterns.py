"""Patterns: their marks hide no match, and none can be made to backtrack."""

from __future__ import annotations

import re

import pytest

from crew_moe.screening import injection, toxicity
from crew_moe.screening.corpus import written
from crew_moe.screening.patterns import Pattern, either, gap, lexicon, occurrences, phrase, words_of
from crew_moe.screening.text import fold

TABLES = {"injection": injection.PATTERNS, "toxicity": toxicity.PATTERNS}
OWN = [fold(example.text) for name in ("attacks", "benign", "abuse", "civil") for example in written(name, 1)[::3]]
UNBOUNDED = re.compile(r"(?<!\\)[*+](?![^\[]*\])|\{\d*,\}")


def test_phrase_occurs_behind_its_mark() -> None:
    pattern = phrase("drop", "ignore", r"\bignore", gap(2), either("rule~1 order~1"), r"\b")

    assert occurrences([pattern], "please ignore all these rules", words_of("please ignore all these rules")) == [0]
    assert occurrences([pattern], "ignore one two three rules", words_of("ignore one two three rules")) == []
    assert occurrences([pattern], "follow the rules", words_of("follow the rules")) == []


def test_lexicon_occurs_by_whole_words() -> None:
    pattern = lexicon("rude", "ass")

    assert occurrences([pattern], "what an ass", ["what", "an", "ass"]) == [0]
    assert occurrences([pattern], "a class", ["a", "class"]) == []
    assert list(pattern.places("ass class ass")) == [(0, 3), (10, 13)]


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_marks_hide_no_match(table: tuple[Pattern, ...]) -> None:
    for folded in OWN:
        seen = {table[position].name for position in occurrences(table, folded, words_of(folded))}

        assert seen == {pattern.name for pattern in table if pattern.regex.search(folded)}, folded


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_phrase_occurs_in_our_own_sentences(table: tuple[Pattern, ...]) -> None:
    phrases = [one for one in table if not one.words]

    assert [one.name for one in phrases if not any(one.regex.search(folded) for folded in OWN)] == []


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_repetition_is_bounded(table: tuple[Pattern, ...]) -> None:
    unbounded = {one.name: found[0] for one in table if (found := UNBOUNDED.search(one.regex.pattern))}

    assert unbounded == {}


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_names_are_unique(table: tuple[Pattern, ...]) -> None:
    names = [pattern.name for pattern in table]

    assert sorted(set(names)) == sorted(names)
