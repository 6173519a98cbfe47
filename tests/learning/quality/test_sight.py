"""What the quality model sees of a text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.features import Features
from crew_moe.learning.quality.form import NAMES, TRAVELLING
from crew_moe.learning.quality.sight import DIMENSIONS, FEATURE_NAMES, MOST_CHARS, features_of, see, see_features


def read(text: str) -> dict[str, float]:
    return dict(zip(NAMES, see(text).form.tolist(), strict=True))


@given(st.text(max_size=300))
def test_any_text_has_finite_numbers(text: str) -> None:
    seen = see(text)

    assert seen.form.shape == (len(NAMES),)
    assert np.isfinite(seen.form).all()
    assert (np.diff(seen.grams) > 0).all()
    assert ((seen.grams >= 0) & (seen.grams < DIMENSIONS)).all()


def test_the_form_of_a_question_with_options() -> None:
    found = read("Which of these is 12.5?\nA. 10\nB. 12.5\nC. none of the above")

    assert (found["options"], found["option_all"], found["ends_question"], found["decimals"]) == (3.0, 1.0, 1.0, 1.0)
    assert found["stem"] < found["chars"]
    assert len(NAMES) > TRAVELLING


def test_hashes_are_the_same_everywhere() -> None:
    assert see("Ab ab, c").grams.tolist() == [58718, 61383, 62836, 72828, 115119, 194772]


def test_words_repeated_weigh_more_but_stand_once() -> None:
    once, often = see("river"), see("river river river river")

    assert set(once.grams) < set(often.grams)
    assert often.weights.max() > once.weights.max()


def test_of_a_long_text_beginning_and_end_are_read() -> None:
    middle = "x y " * MOST_CHARS
    long = "beginning " + middle + " ending"

    assert set(see("beginning").grams) <= set(see(long).grams)
    assert set(see("ending").grams) <= set(see(long).grams)
    assert see(long).chars == len(long)


@pytest.mark.parametrize("text", ["", "\ud800", "日本語の質問ですか？", "A.\nB.\n"])
def test_odd_texts_are_read(text: str) -> None:
    assert np.isfinite(see(text).form).all()


def test_logged_features_are_seen_without_a_word() -> None:
    features: Features = features_of("Review this code, please: def f(): pass", None)

    seen = see_features(features)

    assert len(seen.grams) == 0
    assert seen.form.shape == (len(FEATURE_NAMES),)
    assert features_of("", None).task_type == "analysis"
    assert features_of("hello there", "planning").task_type == "planning"
