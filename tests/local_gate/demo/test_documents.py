"""What the tiny LED practises: the sentence that sums a document up is the marked one, or else the first."""

from __future__ import annotations

import re
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from crew_moe.local_gate.demo.documents import MARKS, document, sentence

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.integers(1, 8), st.booleans())
def test_summary_stands_in_the_document_where_the_rule_says(seed: int, sentences: int, held_out: bool) -> None:
    made = document(Random(seed), sentences, held_out=held_out)

    marks = [mark for mark in MARKS if mark in made.text]
    assert made.marked == bool(marks)
    body = made.text.partition("\n\n")[2] if made.text.startswith("# ") else made.text
    assert f"{marks[0]} {made.summary}" in body if marks else body.startswith(made.summary)
    assert document(Random(seed), sentences, held_out=held_out) == made


@given(SEEDS, st.booleans())
def test_sentence_ends_once_and_begins_large(seed: int, held_out: bool) -> None:
    made = sentence(Random(seed), held_out=held_out)

    assert made[-1] in ".!?"
    assert re.search(r"[.!?:]\s", made) is None
    assert made[0] == made[0].upper()


def test_both_rules_are_practised() -> None:
    rng = Random(0)

    assert 350 < sum(document(rng, 4).marked for _ in range(1000)) < 650
