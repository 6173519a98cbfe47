"""Long texts are cut where it hurts least, and nothing of them is lost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.local_gate.extractive.sentences import borders
from crew_moe.local_gate.hosts.chunks import Chunk, averaged, chunks, joined

SENTENCES = "One two. Three four! Five six? Seven eight."


def size(text: str) -> int:
    return len(text.encode())


def words(text: str) -> int:
    return len(text.split())


def whole(parts: tuple[Chunk, ...]) -> str:
    """The text that the chunks were cut from."""
    return "".join(part.before + part.text[part.repeated :] + part.after for part in parts)


texts = st.text(alphabet=st.sampled_from("ab é漢🙂.!?\n\t。 "), max_size=300)


@given(text=texts, budget=st.integers(4, 60))
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_and_the_order_kept(text: str, budget: int) -> None:
    assert whole(chunks(text, budget=budget, measure=size)) == text


@given(text=texts, budget=st.integers(4, 60), overlap=st.integers(0, 30))
@settings(max_examples=150, deadline=None)
def test_no_chunk_exceeds_the_budget(text: str, budget: int, overlap: int) -> None:
    parts = chunks(text, budget=budget, measure=size, overlap=overlap)

    assert max((size(part.text) for part in parts), default=0) <= budget


@given(text=texts, budget=st.integers(8, 60), overlap=st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_what_is_repeated_is_the_end_of_the_chunk_before(text: str, budget: int, overlap: int) -> None:
    parts = chunks(text, budget=budget, measure=size, overlap=overlap)

    assert "".join(whole(parts).split()) == "".join(text.split())
    for before, part in pairwise(parts):
        repeated = part.text[: part.repeated].strip()
        assert before.text.endswith(repeated)
        assert size(repeated) <= overlap


@given(text=texts, budget=st.integers(8, 60))
@settings(max_examples=100, deadline=None)
def test_what_is_made_letter_by_letter_is_as_of_the_whole(text: str, budget: int) -> None:
    parts = chunks(text, budget=budget, measure=size)

    assert joined(parts, [part.text.swapcase() for part in parts]) == text.swapcase()


def test_text_that_fits_is_one_chunk() -> None:
    assert chunks(" Hello. World. ", budget=15, measure=size) == (Chunk(text="Hello. World.", before=" ", after=" "),)


def test_text_is_cut_after_sentences() -> None:
    parts = chunks(SENTENCES, budget=5, measure=words)

    assert [part.text for part in parts] == ["One two. Three four!", "Five six? Seven eight."]


def test_abbreviation_ends_no_sentence() -> None:
    text = "Ask Dr. Miller, e.g. today. Then go."

    assert [text[:end] for end in borders(text)] == ["Ask Dr. Miller, e.g. today. "]


def test_line_ends_a_sentence() -> None:
    assert [part.text for part in chunks("a b\n\nc d\ne f", budget=2, measure=words)] == ["a b", "c d", "e f"]


def test_overlap_is_of_whole_sentences() -> None:
    parts = chunks(SENTENCES, budget=4, measure=words, overlap=2)

    assert [part.text for part in parts] == [
        "One two. Three four!",
        "Three four! Five six?",
        "Five six? Seven eight.",
    ]
    assert parts[1].text[parts[1].repeated :] == "Five six?"


def test_overlap_stands_once_in_what_is_joined() -> None:
    parts = chunks(SENTENCES, budget=4, measure=words, overlap=2)

    assert joined(parts, [part.text.upper() for part in parts]) == SENTENCES.upper()


def test_answers_that_do_not_repeat_are_joined_whole() -> None:
    parts = chunks(SENTENCES, budget=4, measure=words, overlap=2)

    assert joined(parts, ["The start.", "The middle.", "The end."]) == "The start. The middle. The end."


@pytest.mark.parametrize("text", ["x" * 1000, "漢" * 400, " " * 1000, "\n" * 1000, "a " * 500])
def test_text_without_sentences_is_cut_all_the_same(text: str) -> None:
    parts = chunks(text, budget=64, measure=size)

    assert whole(parts) == text
    assert max(size(part.text) for part in parts) <= 64


def test_character_beyond_the_budget_stands_alone() -> None:
    assert [part.text for part in chunks("🙂🙂", budget=1, measure=size)] == ["🙂", "🙂"]


@pytest.mark.parametrize("overlap", [0, 6])
def test_budget_holds_where_a_whole_is_more_than_its_parts(overlap: int) -> None:
    """As tokens may be: a word's first ones depend on what stands before it."""

    def measure(text: str) -> int:
        return len(text) + 10 * (text.count(".") > 1)

    parts = chunks("Aa bb. " * 30, budget=21, measure=measure, overlap=overlap)

    assert max(measure(part.text) for part in parts) <= 21
    assert whole(parts) == "Aa bb. " * 30 or overlap


def test_long_text_is_cut_in_time_that_grows_with_it() -> None:
    measured = 0

    def counted(text: str) -> int:
        nonlocal measured
        measured += len(text)
        return size(text)

    text = "The pump failed at noon. " * 8_000
    chunks(text, budget=1_000, measure=counted)

    assert measured < 4 * len(text)


def test_probabilities_are_averaged_by_the_length_of_their_chunks() -> None:
    mean = averaged(np.array([[1.0, 0.0], [0.0, 1.0]]), [3, 1])

    assert mean.tolist() == [0.75, 0.25]
    assert averaged(np.array([[1.0, 0.0]]), [0]).tolist() == [1.0, 0.0]
