"""Spans match one to one, by type and by half of what both cover."""

from __future__ import annotations

from crew_moe.domain.screening import Span
from crew_moe.screening.span_measures import matched, span_figures, tallies


def at(start: int, end: int, kind: str = "EMAIL") -> Span:
    return Span(start=start, end=end, type=kind)


def test_half_of_the_union_is_enough() -> None:
    assert matched([at(0, 4)], [at(0, 8)]) == [(0, 0)]
    assert matched([at(0, 4)], [at(0, 9)]) == []


def test_types_must_be_the_same() -> None:
    assert matched([at(0, 4)], [at(0, 4, "PHONE")]) == []


def test_best_overlap_is_taken_first_and_once() -> None:
    assert matched([at(0, 10)], [at(0, 8), at(0, 10)]) == [(0, 1)]
    assert sorted(matched([at(0, 10), at(0, 8)], [at(0, 8), at(0, 10)])) == [(0, 1), (1, 0)]


def test_hits_false_alarms_and_misses_are_counted_by_type() -> None:
    told = tallies([at(0, 4), at(9, 12, "IBAN")], [at(0, 4), at(20, 24, "PHONE")])

    assert {name: (tally.hits, tally.false, tally.missed) for name, tally in told.items()} == {
        "EMAIL": (1, 0, 0),
        "IBAN": (0, 0, 1),
        "PHONE": (0, 1, 0),
    }


def test_name_on_an_unscored_span_is_no_error() -> None:
    unscored = [at(0, 10, "OTHER")]

    assert tallies(unscored, [at(0, 10, "PERSON")]) == {}
    assert tallies(unscored, [at(0, 10, "PHONE")])["PHONE"].false == 1


def test_empty_spans_are_ignored() -> None:
    assert tallies([], [at(3, 3)]) == {}


def test_figures_add_up_over_texts() -> None:
    figures = span_figures([([at(0, 4)], [at(0, 4)]), ([at(0, 4)], []), ([], [at(0, 4)]), ([], [])])

    assert figures["span_structured"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "gold": 2}
    assert (figures["doc_recall_any_pii"], figures["doc_fpr_structured_on_span_free"]) == (0.5, 0.5)
