"""Grades of all answers, read from a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.errors import InvalidInput
from crew_moe.learning.truth import Grade, read_truth


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("key", ["decision_id", "query_id"])
def test_grades_are_read_by_id_and_expert(tmp_path: Path, key: str) -> None:
    path = table(tmp_path, f"{key},q:a,c:a,q:b,other\nd1,0.5,0.01,1,x\nd2,,,0,y\n")

    assert read_truth(path) == {
        "d1": {"a": Grade(quality=0.5, cost_usd=0.01), "b": Grade(quality=1.0)},
        "d2": {"b": Grade(quality=0.0)},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,q:a\nd1,1\n", r"no column of ids.*decision_id"),
        ("decision_id,a\nd1,1\n", r"none of qualities.*q:<expert>"),
        ("decision_id,q:a\nd1,1\nd1,0\n", r"row 2.*'d1' stands there twice"),
        ("decision_id,q:a\nd1,1.5\n", r"row 1.*'q:a' is 1\.5.*from 0 to 1"),
        ("decision_id,q:a\nd1,good\n", r"row 1.*'q:a' is no number"),
        ("decision_id,q:a,c:a\nd1,1,-2\n", r"row 1.*'c:a' is -2"),
    ],
)
def test_table_that_is_not_as_it_must_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_truth(table(tmp_path, text))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_truth(tmp_path / "none.csv")
