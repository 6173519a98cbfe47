"""What the tiny ByT5 practises: right answers, and words that practice and measurement never share."""

from __future__ import annotations

import codecs
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.local_gate.demo.exercises import MAX_WORDS, TASKS, exercise
from crew_moe.local_gate.demo.words import is_held_out, word

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.booleans(), st.integers(2, 8))
def test_a_word_is_either_for_practice_or_for_measuring(seed: int, held_out: bool, longest: int) -> None:
    made = word(Random(seed), held_out=held_out, longest=longest)

    assert is_held_out(made) == is_held_out(made.upper()) == held_out
    assert made.isascii()
    assert 1 <= len(made) <= max(4, longest)


def test_words_are_many() -> None:
    rng = Random(0)

    assert len({word(rng, held_out=False) for _ in range(1000)}) > 900
    assert len({word(rng, held_out=True) for _ in range(1000)}) > 700


@given(SEEDS, st.sampled_from(sorted(TASKS)), st.integers(1, MAX_WORDS), st.booleans())
def test_answer_is_right(seed: int, task: str, words: int, held_out: bool) -> None:
    given_text, wanted = exercise(Random(seed), task, words, held_out=held_out)
    text = given_text.removeprefix(TASKS[task].prefix)

    assert text != given_text
    assert _solved(task, text) == wanted
    drawn = re.findall(r"[A-Za-z0-9]+", _solved("plain", text))
    assert len(drawn) == words
    assert {is_held_out(one) for one in drawn} == {held_out}


def _solved(task: str, text: str) -> str:
    """The answer by another way than that of the exercises."""
    if task in ("rot13", "upper"):
        return codecs.encode(text, "rot13") if task == "rot13" else text.upper()
    html = text.replace("&", "&amp;")
    for mark, element in (("**", "strong"), ("*", "em"), ("`", "code")):
        html = re.sub(rf"{re.escape(mark)}(.+?){re.escape(mark)}", rf"<{element}>\1</{element}>", html)
    for pattern, element in (("## ", "h2"), ("# ", "h1"), ("- ", "li"), ("", "p")):
        if html.startswith(pattern):
            html = f"<{element}>{html.removeprefix(pattern)}</{element}>"
            break
    return html if task == "html" else re.sub("<[^>]+>", "", html)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_same_dice_give_the_same_exercise(task: str) -> None:
    assert [exercise(Random(3), task, 4) for _ in range(2)] == [exercise(Random(3), task, 4)] * 2
