"""The measures against values counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.screening.measures import Judged, Tally, auroc, threshold_at, total

SCORES = st.lists(st.integers(min_value=0, max_value=5), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("labels", "scores", "area"),
    [
        ([1, 1, 0, 0], [4, 3, 2, 1], 1.0),
        ([0, 0, 1, 1], [4, 3, 2, 1], 0.0),
        ([1, 0, 1, 0], [4, 3, 2, 1], 0.75),
        ([1, 0], [1, 1], 0.5),
        ([1, 1], [1, 2], None),
    ],
    ids=["perfect", "reversed", "one pair wrong", "a tie", "one kind"],
)
def test_auroc_by_hand(labels: list[int], scores: list[int], area: float | None) -> None:
    assert auroc(labels, scores) == area


@given(SCORES, SCORES)
def test_auroc_is_the_share_of_pairs_in_order(positives: list[int], negatives: list[int]) -> None:
    won = sum((one > other) + (one == other) / 2 for one in positives for other in negatives)

    area = auroc([1] * len(positives) + [0] * len(negatives), positives + negatives)

    assert area == pytest.approx(won / (len(positives) * len(negatives)))


@given(SCORES, st.floats(min_value=0, max_value=1))
def test_threshold_flags_no_more_than_the_rate(negatives: list[int], rate: float) -> None:
    threshold = threshold_at(negatives, rate)

    assert np.mean(np.array(negatives) >= threshold) <= rate


def test_threshold_is_the_smallest_that_does() -> None:
    assert threshold_at([1, 2, 3, 4], 0.25) == np.nextafter(3.0, 4.0)
    assert threshold_at([1, 1, 1, 1], 0.25) == np.nextafter(1.0, 2.0)


def test_threshold_without_negatives_is_an_error() -> None:
    with pytest.raises(ValueError, match="negative"):
        threshold_at([], 0.01)


def test_figures_count_false_alarms_on_ordinary_texts_alone() -> None:
    judged = Judged(
        labels=np.array([1, 1, 0, 0, 0]),
        scores=np.array([0.9, 0.4, 0.6, 0.1, 0.2]),
        sources=np.array(["a", "b", "a", "a", "b"]),
        ordinary=np.array([False, False, False, True, True]),
    )

    figures = judged.figures()

    assert figures["auroc"] == {"all": pytest.approx(5 / 6), "pos_vs_ordinary": 1.0}
    assert figures["at_1pct_fpr"]["recall"] == 1.0
    assert figures["at_shipped_threshold"]["recall_by_source"] == {"a": 1.0, "b": 0.0}
    assert figures["at_shipped_threshold"]["fpr_by_source"] == {"a": 0.5, "b": 0.0}
    assert figures["at_shipped_threshold"]["fpr_ordinary"] == 0.0


def test_tally_gives_precision_recall_and_f1() -> None:
    counted = total({"a": Tally(hits=2, false=1), "b": Tally(hits=1, missed=2), "c": Tally(false=9)}, ("a", "b"))

    assert counted.figures() == {"precision": 0.75, "recall": 0.6, "f1": pytest.approx(2 / 3), "gold": 5}
    assert Tally().figures() == {"precision": None, "recall": None, "f1": None, "gold": 0}
