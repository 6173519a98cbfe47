"""Hashed n-grams: the same everywhere, each counted once, in windows that leave nothing out."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.screening.features import DIMENSIONS, STRIDE, WINDOW, features, windows
from crew_moe.screening.patterns import lexicon

PROGRAM = (
    "from crew_moe.screening.features import features; f = features('to be or not', ()); print(*f.words, *f.characters)"
)


def test_features_are_the_same_in_every_process() -> None:
    runs = {
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    here = features("to be or not", ())

    assert runs == {" ".join(map(str, [*here.words, *here.characters])) + "\n"}


def test_words_count_once_and_alone_and_in_rows() -> None:
    assert len(features("a b", ()).words) == 3  # a, b, "a b"
    assert len(features("a b c", ()).words) == 6
    assert len(features("a a a a", ()).words) == 3


def test_characters_are_counted_by_three_four_and_five() -> None:
    assert len(features("abcdef", ()).characters) == 4 + 3 + 2
    assert len(features("aaaaaaaa", ()).characters) == 3


@pytest.mark.parametrize("window", ["", "a", "ab", " ", "\ud800", "\U0001f600"])
def test_tiny_windows_have_few_features(window: str) -> None:
    seen = features(window, ())

    assert len(seen.characters) == 0
    assert len(seen.words) <= 1


def test_patterns_are_told_by_position() -> None:
    patterns = [lexicon("one", "red"), lexicon("two", "blue")]

    assert features("blue sky", patterns).patterns == [1]


@given(st.text(max_size=200))
def test_indices_are_distinct_and_in_range(text: str) -> None:
    seen = features(text, ())

    for indices in (seen.words, seen.characters):
        assert len(np.unique(indices)) == len(indices)
        assert all(0 <= index < DIMENSIONS for index in indices)


@given(st.integers(min_value=0, max_value=5 * WINDOW))
def test_windows_cover_everything_and_overlap(length: int) -> None:
    pieces = list(windows("x" * length))

    assert pieces[0][0] == 0
    assert pieces[-1][0] + len(pieces[-1][1]) == length
    assert all(later[0] - sooner[0] <= STRIDE for sooner, later in pairwise(pieces))
    assert all(len(piece) <= WINDOW for _, piece in pieces)
