"""Figures of routing by predictions, against cases that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.errors import InvalidInput
from crew_moe.learning.quality.frontier import Frontier, figures
from crew_moe.learning.quality.pairs import pair_figures
from crew_moe.learning.quality.scoring import Asked, scored
from crew_moe.screening.dataset import write_rows

QUALITY = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
COST = np.array([[1.0, 4.0]] * 4)
NAMES = ("cheap", "dear")
EVERYTHING = Asked(where={})


def test_the_hull_leaves_out_what_costs_more_for_less() -> None:
    frontier = Frontier.of(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.2, 0.25, 0.8, 0.7]))

    assert frontier.cost.tolist() == [1.0, 3.0]
    assert frontier.at(2.0) == pytest.approx(0.5)
    assert frontier.cost_of(0.5) == pytest.approx(2.0)
    assert frontier.cost_of(0.9) is None
    assert frontier.cost_of(0.1) == 1.0
    assert frontier.mean(1.0, 3.0) == pytest.approx(0.5)


def test_truth_predicted_is_the_oracle() -> None:
    told = figures(NAMES, QUALITY, COST, QUALITY, COST)

    assert told["quality_at_zero_cost_weight"] == told["oracle_quality"] == 1.0
    assert told["aiq_gap_closed"] == pytest.approx(1.0)
    assert told["best_single"] == "dear"


def test_means_predicted_close_no_gap() -> None:
    told = figures(NAMES, np.tile(QUALITY.mean(axis=0), (4, 1)), COST, QUALITY, COST)

    assert told["aiq_gap_closed"] == pytest.approx(0.0, abs=1e-9)
    assert told["router"]["cost_for_100pct_quality"] == pytest.approx(1.0)
    assert told["router"]["aiq"] == pytest.approx((0.5 + 0.75) / 2)


def test_a_perfect_order_of_two() -> None:
    told = pair_figures(np.array([3.0, 2.0, 1.0, 4.0]), QUALITY[:, 0], QUALITY[:, 1])

    assert told["apgr"] == pytest.approx(told["oracle_apgr"], abs=1e-3)
    assert told["cpt50"] == pytest.approx(12.5)
    assert told["max_accuracy"] == 1.0


def test_equal_scores_are_taken_in_random_order() -> None:
    told = pair_figures(np.zeros(4), QUALITY[:, 0], QUALITY[:, 1])

    assert (told["apgr"], told["cpt50"], told["cpt80"]) == pytest.approx((0.5, 50.0, 80.0))


def test_ties_are_sent_together() -> None:
    told = pair_figures(np.array([1.0, 2.0, 2.0, 2.0]), np.zeros(4), np.array([1.0, 1.0, 0.0, 0.0]))

    assert told["cpt50"] == pytest.approx(75.0)
    assert told["apgr"] == pytest.approx((0.75 * 0.5 + 0.25 * 1.5) / 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), min_size=4, max_size=30))
def test_no_order_beats_the_oracle(rows: list[tuple[int, bool, bool]]) -> None:
    score, weak, strong = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    if strong.sum() <= weak.sum():
        with pytest.raises(InvalidInput, match="no better"):
            pair_figures(score, weak, strong)
        return
    told = pair_figures(score, weak, strong)

    assert told["apgr"] <= told["oracle_apgr"] + 0.01 * len(rows)
    assert told["cpt50"] <= told["cpt80"] <= told["cpt100"] <= 100.0


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    data, predictions = tmp_path / "data.jsonl", tmp_path / "predictions.jsonl"
    ids = range(4)
    write_rows(
        data,
        [
            {"query_id": i, "kind": "ab"[i % 2], "contaminated": i == 3}
            | {f"q:{n}": QUALITY[i, k] for k, n in enumerate(NAMES)}
            | {f"c:{n}": COST[i, k] for k, n in enumerate(NAMES)}
            for i in ids
        ],
    )
    write_rows(predictions, [{"query_id": i} | {f"p:{n}": QUALITY[i, k] for k, n in enumerate(NAMES)} for i in ids])
    return data, predictions


def test_rows_are_chosen_by_column_and_contamination(files: tuple[Path, Path]) -> None:
    assert scored(*files, EVERYTHING)["rows"] == 4
    assert scored(*files, Asked(where={"kind": "b"}))["rows"] == 2
    assert scored(*files, Asked(where={}, drop_contaminated=True))["rows"] == 3
    assert scored(*files, Asked(where={}, pair=NAMES))["pair"]["strong"] == "dear"


def test_costs_come_from_where_it_says(files: tuple[Path, Path]) -> None:
    data, predictions = files

    assert scored(data, predictions, EVERYTHING)["costs"] == "means of the data itself"
    assert scored(data, predictions, Asked(where={}, cost_reference=data))["costs"] == "means of data.jsonl"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(where={"kin": "a"}), "no column 'kin'.*did you mean 'kind'"),
        (Asked(where={"kind": "c"}), "no row is left"),
        (Asked(where={}, pair=("cheap", "dea")), "unknown expert 'dea'; did you mean 'dear'"),
    ],
)
def test_what_can_not_be_judged_is_told(files: tuple[Path, Path], asked: Asked, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        scored(*files, asked)


def test_a_missing_prediction_is_told(files: tuple[Path, Path]) -> None:
    data, predictions = files
    write_rows(predictions, [{"query_id": 0, "p:cheap": 1.0, "p:dear": 0.0}])

    with pytest.raises(InvalidInput, match="no prediction for query_id '1'"):
        scored(data, predictions, EVERYTHING)
