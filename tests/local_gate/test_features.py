"""What the gate sees of a text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.domain.screening import Language
from crew_moe.local_gate.features import BUCKETS, FEATURES, features, vector_of
from crew_moe.local_gate.measures import MEASURES, SEEN, SHARES, measures
from crew_moe.screening.language import ScriptDetector

ANY = st.text(st.characters(codec=None), max_size=300)  # lone surrogates among them
CODE = "```python\ndef add(a, b):\n    return a + b == 3 && f(a)\n```"
PAGE = "# Title\n\n- one\n- two\n3. three\n\n| a | b |\n|---|---|\n\nIs it? \u201cYes\u201d."


@settings(max_examples=60)
@given(ANY)
def test_any_text_has_finite_features_within_their_bounds(text: str) -> None:
    seen = features(text)

    assert seen.vector.shape == (len(FEATURES),)
    assert np.isfinite(seen.vector).all()
    assert (seen.vector >= 0).all()
    assert all(0 <= seen.as_dict()[name] <= 1 for name in SHARES)


@settings(max_examples=30)
@given(ANY)
def test_same_text_has_the_same_features(text: str) -> None:
    assert np.array_equal(features(text).vector, features("" + text).vector)


@settings(max_examples=30)
@given(ANY)
def test_characters_and_bytes_are_exact(text: str) -> None:
    told = features(text).as_dict()

    assert told["chars"] == len(text)
    assert told["bytes"] == len(text.encode("utf-8", "surrogatepass"))
    assert told["lines"] == text.count("\n") + 1


def test_measures_are_told_by_name_in_a_fixed_order() -> None:
    assert tuple(features("abc").as_dict()) == MEASURES
    assert FEATURES[: len(MEASURES)] == MEASURES
    assert len(set(FEATURES)) == len(FEATURES)


def test_code_has_fences_marks_and_indented_lines() -> None:
    told = measures(CODE)

    assert (told["code_fences"], told["calls"], told["code_marks"]) == (1, 2, 2)
    assert told["indented_line_ratio"] == 0.25
    assert told["code_word_ratio"] > 0.3 > measures("The cat sat on the mat.")["code_word_ratio"]


def test_structure_is_counted() -> None:
    told = measures(PAGE)

    assert (told["headings"], told["list_items"], told["table_rows"], told["paragraphs"]) == (1, 3, 2, 4)
    assert (told["questions"], told["quotes"]) == (1, 2)


def test_sentences_have_a_mean_a_longest_and_a_spread() -> None:
    told = measures("One two three. Four five six seven eight! Nine?")

    assert told["sentences"] == 3
    assert (told["mean_sentence_words"], told["max_sentence_words"]) == (3, 5)
    assert told["sentence_words_spread"] == pytest.approx(np.std([3, 5, 1]))


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("AB cd", "upper_ratio", 0.4),
        ("ÄÖ é1", "upper_ratio", 0.4),
        ("a1b2", "digit_ratio", 0.5),
        ("x\0\0\0", "control_ratio", 0.75),
        ("ab日本", "wide_ratio", 0.5),
        ("aé\ud800b", "non_ascii_ratio", 0.5),
        ("a b\tc\n", "whitespace_ratio", 0.5),
        ("x={1}", "special_ratio", 0.6),
        ("ab\U0001f642\U0001f680", "special_ratio", 0.5),
        ("ab\U0001f642\U0001f680", "control_ratio", 0.0),
        ("the the cat", "vocabulary_diversity", 2 / 3),
    ],
)
def test_ratio_is_the_share_of_characters_or_words(text: str, name: str, value: float) -> None:
    assert measures(text)[name] == pytest.approx(value)


def test_what_stands_beyond_the_part_looked_at_is_estimated() -> None:
    text = "word and word. " * 100_000

    told = measures(text)

    assert len(text) > 100 * SEEN
    assert told["chars"] == len(text)
    assert told["words"] == pytest.approx(300_000, rel=0.01)
    assert told["sentences"] == pytest.approx(100_000, rel=0.01)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("word " * SEEN, 1.0),
        ("word " * 100 + "\n\n" + "word " * SEEN, 500 / (502 + 5 * SEEN)),
        ("word " * SEEN + "\n\n" + "word " * SEEN, 0.5),
    ],
    ids=["no other", "at the beginning", "in the middle"],
)
def test_first_paragraph_of_a_long_text_has_its_share_of_the_whole(text: str, share: float) -> None:
    assert measures(text)["first_paragraph_ratio"] == pytest.approx(share, abs=1e-4)


def test_ten_megabytes_of_anything_are_looked_at() -> None:
    for text in ("a" * 10_000_000, "\n" * 10_000_000, "? " * 5_000_000, "\ud800\0" * 5_000_000):
        assert np.isfinite(features(text).vector).all()


def test_words_count_by_their_stems_whatever_stands_around_them() -> None:
    words = slice(-BUCKETS, None)

    assert np.array_equal(features("Orders (customer)!").vector[words], features("'order' CUSTOMERS,").vector[words])
    assert np.linalg.norm(features("one two three").vector[words]) == pytest.approx(1.0)


def test_language_of_a_longer_text_is_a_feature_where_a_detector_is_given() -> None:
    text = "Как лучше подготовиться к экзамену по истории? " * 3

    told = features(text, ScriptDetector())

    assert told.language is not None
    assert told.as_dict()["language_ru"] == told.vector[FEATURES.index("language_ru")] == told.language.confidence
    assert features(text).language is None
    assert features("Как дела?", ScriptDetector()).language is None


def test_rarer_language_is_another_one() -> None:
    class Always:
        def detect(self, text: str) -> Language:  # noqa: ARG002 - the protocol's
            return Language(code="cy", confidence=0.9)

    assert features("x" * 100, Always()).as_dict()["language_other"] == 0.9


def test_vector_comes_back_from_its_named_entries() -> None:
    vector = features(PAGE).vector
    told = {name: float(value) for name, value in zip(FEATURES, vector, strict=True) if value}

    assert np.array_equal(vector_of(told), vector)


def test_features_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        features("x").vector[0] = 1.0
