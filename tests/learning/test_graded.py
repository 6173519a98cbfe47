"""Graded questions are read from several files, and every mistake is named with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crew_moe.errors import InvalidInput
from crew_moe.learning.graded import read_graded
from crew_moe.screening.dataset import write_rows
from tests.learning.graded_rows import graded_file, graded_rows


def test_rows_of_all_files_stand_in_their_order(tmp_path: Path) -> None:
    one, two = graded_file(tmp_path / "a.jsonl", 5), graded_file(tmp_path / "b.csv", 4, seed=2)
    data = read_graded([one, two])

    rows = [*graded_rows(5), *graded_rows(4, seed=2)]
    assert data.experts == ("coder", "sage", "dear")
    assert data.contexts.shape == (9, 32)
    assert data.quality[:, 1].tolist() == [row["q:sage"] for row in rows]
    assert data.cost[:, 2].tolist() == pytest.approx([row["c:dear"] for row in rows])
    assert data.dearest == pytest.approx(sum(row["c:dear"] for row in rows) / 9)


def test_chosen_experts_stand_in_the_order_given(tmp_path: Path) -> None:
    data = read_graded([graded_file(tmp_path / "a.jsonl", 3)], ["dear", "coder"])

    assert data.experts == ("dear", "coder")
    assert data.quality[:, 0].tolist() == [row["q:dear"] for row in graded_rows(3)]


def test_parquet_is_read_too(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")

    assert len(read_graded([graded_file(tmp_path / "a.parquet", 3)]).contexts) == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"q:sage": 1.5}, "row 2: 'q:sage' is 1.5; allowed: 0 to 1"),
        ({"q:sage": None}, "row 2: 'q:sage' is no number"),
        ({"q:sage": float("nan")}, "row 2: 'q:sage' is nan"),
        ({"c:dear": -1}, "row 2: 'c:dear' is -1; allowed: 0 or more"),
        ({"c:dear": float("inf")}, "row 2: 'c:dear' is inf"),
        ({"prompt": 7}, "row 2: 'prompt' is int, not text"),
        ({"prompt": None}, "row 2: 'prompt' is empty"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    first, second = graded_rows(2)
    write_rows_loosely(tmp_path / "a.jsonl", [first, {**second, **change}])

    with pytest.raises(InvalidInput, match=f"a.jsonl: {told}"):
        read_graded([tmp_path / "a.jsonl"])


def write_rows_loosely(path: Path, rows: list[dict[str, Any]]) -> None:
    """As write_rows, but for numbers that are none."""
    import json

    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_file_without_a_chosen_expert_is_refused(tmp_path: Path) -> None:
    one = graded_file(tmp_path / "a.jsonl", 3)
    rows = [{name: value for name, value in row.items() if "sage" not in name} for row in graded_rows(3)]
    write_rows(tmp_path / "b.jsonl", rows)

    with pytest.raises(InvalidInput, match=r"b\.jsonl: the column 'q:sage' is missing"):
        read_graded([one, tmp_path / "b.jsonl"])


@pytest.mark.parametrize(
    ("experts", "told"),
    [
        (["coder", "sagee"], "unknown expert 'sagee'; did you mean 'sage'?"),
        (["coder"], "two different experts"),
        (["coder", "coder", "sage"], "none twice"),
    ],
)
def test_experts_that_cannot_be_chosen_are_named(tmp_path: Path, experts: list[str], told: str) -> None:
    path = graded_file(tmp_path / "a.jsonl", 3)

    with pytest.raises(InvalidInput) as caught:
        read_graded([path], experts)
    assert told in str(caught.value)


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"prompt": "hello", "q:one": 1.0}])

    with pytest.raises(InvalidInput, match="at least two experts are needed"):
        read_graded([tmp_path / "a.jsonl"])


def test_an_empty_question_has_a_context_of_its_own(tmp_path: Path) -> None:
    row = {**graded_rows(1)[0], "prompt": "  "}
    write_rows(tmp_path / "a.jsonl", [row])

    assert read_graded([tmp_path / "a.jsonl"]).contexts[0, 0] == 1.0
