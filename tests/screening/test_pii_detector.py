"""The detector as a whole: its spans, its steadiness, and its time over hostile texts."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.screening import Concern, Span
from crew_moe.screening.pii import PiiDetector
from crew_moe.screening.pii.overlap import without_overlaps

DETECTOR = PiiDetector()
PIECES = (
    "4111 1111 1111 1111", "ann@example.org", "Mr. Ann Lee", "+44 20 7946 0958", "24 Clarke Avenue",
    "password: hunter2", "\u200b",
)  # fmt: skip
HINTS = "a@b.c x://y dot [at] 1 password passport zip token -- "  # no rule is passed over for want of its word
HOSTILE = (
    "a", "1", "1 ", "4111 ", "a@", "a@a.", "Aa ", "Aa. ", "12 Aa ", "1 Aa, ", "a'", "+1 (", "::", "1:",
    "password: ", "sk-", "eyJa.", "-----BEGIN PRIVATE KEY-----", "GB26 YVOK ", "passport number is ", "Mr. ",
    " dot ", "a [at] ", "\n", "\u200b", "\uff11", "İ", "://a:", "Apt. 1 ", "van van ", "Jean-", "I live in ",
    "1-", "1.",
)  # fmt: skip


@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(PIECES)), max_size=8).map(" ".join))
def test_spans_lie_in_the_text_in_order_without_overlap_and_stay_the_same(text: str) -> None:
    found = DETECTOR.assess(text)

    assert found == DETECTOR.assess(text)
    assert all(0 <= span.start < span.end <= len(text) and 0.5 <= span.score <= 1.0 for span in found.spans)
    assert all(one.end <= other.start for one, other in zip(found.spans, found.spans[1:], strict=False))


def test_a_finding_tells_the_surest_span_and_who_said_so() -> None:
    found = DETECTOR.assess("ann@example.org, 451 5986 by phone")

    assert (found.concern, found.score, found.version) == (Concern.PII, 0.95, DETECTOR.version)
    assert found.flagged


@pytest.mark.parametrize("text", ["", "\x00", "\ud800 x", "İİ ann@example.org", "🦜" * 50])
def test_odd_texts_are_texts(text: str) -> None:
    assert all(text[span.start : span.end] == "ann@example.org" for span in DETECTOR.assess(text).spans)


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_with_the_length_of_any_text(unit: str) -> None:
    """Sixteen times the text in less than forty times the time: quadratic would take 256."""
    short, long = (_seconds((HINTS + unit * (size // len(unit) + 1))[:size]) for size in (3_000, 48_000))

    assert long < 40 * max(short, 0.002)


def _seconds(text: str) -> float:
    start = process_time()
    DETECTOR.assess(text)
    return process_time() - start


def test_the_surest_of_overlapping_spans_stays_and_leaves_room_for_the_others() -> None:
    spans = [
        Span(start=0, end=6, type="ADDRESS", score=0.6),
        Span(start=4, end=9, type="PHONE", score=0.9),
        Span(start=8, end=12, type="IP", score=0.7),
        Span(start=10, end=12, type="SSN", score=0.6),
    ]

    assert [span.type for span in without_overlaps(spans)] == ["PHONE", "SSN"]


def test_a_name_inside_something_with_a_form_is_no_finding_of_its_own() -> None:
    text = "john [at] example [dot] com"

    assert [span.type for span in DETECTOR.assess(text).spans] == ["EMAIL"]
