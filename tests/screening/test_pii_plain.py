"""The plain form of a text and the way back to its own offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.screening.pii.plain import INVISIBLE, Plain


def test_ascii_is_its_own_plain_form() -> None:
    assert Plain.of("ann@example.org") == Plain(text="ann@example.org")


@pytest.mark.parametrize(
    ("original", "plain"),
    [
        ("\uff14\uff11\uff11\uff11", "4111"),
        ("\uff41\uff20\uff42\uff0e\uff4f\uff52\uff47", "a@b.org"),
        ("٠١٢", "012"),
        ("\U0001d7d2\U0001d7cf", "41"),
        ("1\u00a02\u20093", "1 2 3"),
        ("1\u20112\u22123", "1-2-3"),
        ("Zoë", "Zoë"),
    ],
)
def test_disguises_come_off_one_for_one(original: str, plain: str) -> None:
    assert Plain.of(original).text == plain


def test_offsets_lead_back_over_invisible_characters() -> None:
    original = "\u200bx 4\u200b1\ufeff1\u00ad1 y"
    plain = Plain.of(original)

    start, end = plain.original(plain.text.index("4111"), plain.text.index("4111") + 4)

    assert original[start:end] == "4\u200b1\ufeff1\u00ad1"


@given(st.text(st.sampled_from("ab\uff11 \u200b\u200d\ufeff\U000e0041"), max_size=40), st.data())
def test_any_piece_is_the_plain_form_of_where_it_came_from(original: str, data: st.DataObject) -> None:
    plain = Plain.of(original)
    if not plain.text:
        return
    start = data.draw(st.integers(0, len(plain.text) - 1))
    end = data.draw(st.integers(start + 1, len(plain.text)))

    first, last = plain.original(start, end)

    assert Plain.of(original[first:last]).text == plain.text[start:end]
    assert not INVISIBLE.match(original[first])
    assert not INVISIBLE.match(original[last - 1])
