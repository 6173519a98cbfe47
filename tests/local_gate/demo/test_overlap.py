"""ROUGE against values worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.local_gate.demo.overlap import rouge_1, rouge_l

TEXTS = st.text(alphabet="ab ", max_size=12)


@pytest.mark.parametrize(
    ("found", "wanted", "one", "longest"),
    [
        ("the cat sat", "The cat sat.", 1.0, 1.0),
        ("police killed the gunman", "police kill the gunman", 0.75, 0.75),
        ("the gunman police killed", "police killed the gunman", 1.0, 0.5),
        ("a a b", "a b", 0.8, 0.8),
        ("a b", "c", 0.0, 0.0),
        ("", "a", 0.0, 0.0),
        ("", "", 0.0, 0.0),
    ],
)
def test_overlap_is_that_of_its_definition(found: str, wanted: str, one: float, longest: float) -> None:
    assert rouge_1(found, wanted) == pytest.approx(one)
    assert rouge_l(found, wanted) == pytest.approx(longest)


@given(TEXTS, TEXTS)
def test_order_never_helps_and_sides_may_be_swapped(a: str, b: str) -> None:
    assert 0 <= rouge_l(a, b) <= rouge_1(a, b) <= 1
    assert rouge_1(a, b) == rouge_1(b, a)
    assert rouge_l(a, b) == rouge_l(b, a)
