"""Tables are read whole or refused with the place of the mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crew_moe.errors import InvalidInput
from crew_moe.screening.dataset import LABELLED, TEXTS, read_examples, read_rows, write_rows

ROWS: list[dict[str, Any]] = [
    {"id": "1", "text": 'hello, "you"\nthere', "label": 0, "source": "s", "category": "c"},
    {"id": "2", "text": "grüße", "label": 1, "source": "s", "category": "c"},
]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_what_was_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"table{suffix}"

    write_rows(path, ROWS)

    assert [example.text for example in read_examples(path)] == [row["text"] for row in ROWS]
    assert [example.label for example in read_examples(path)] == [0, 1]


def _written(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "1"}, r"row 2: the id '1' stands there twice"),
        ({"text": None}, r"row 2: 'text' is empty"),
        ({"text": float("nan")}, r"row 2: 'text' is empty"),
        ({"text": 7}, r"row 2: 'text' is int, not text"),
        ({"label": 2}, r"id 2: the label is 2; allowed: 0, 1"),
        ({"label": "yes"}, r"the label is 'yes'"),
    ],
)
def test_wrong_value_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = _written(tmp_path, [ROWS[0], ROWS[1] | changes])

    with pytest.raises(InvalidInput, match=message):
        read_examples(path)


def test_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = _written(tmp_path, [{"id": "1", "body": "x"}])

    with pytest.raises(InvalidInput, match=r"table\.jsonl: the column 'text' is missing; allowed: body, id"):
        read_rows(path, TEXTS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x", r"'a\.txt' is not a table"),
        ("a.jsonl", '{"id": 1}\n{', "can't be read as jsonl .line 2, column 2: "),
        ("a.jsonl", "[1]", "line 1 is not an object"),
        ("a.jsonl", "", "there is no row in it"),
        ("a.parquet", "not parquet", "can't be read as parquet"),
        ("a.csv", "", "there is no row in it"),
    ],
)
def test_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(content, encoding="utf-8")

    with pytest.raises(InvalidInput, match=message):
        read_rows(tmp_path / name, LABELLED)


def test_absent_file_and_unwritable_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_rows(tmp_path / "none.csv", TEXTS)
    with pytest.raises(InvalidInput, match="can't be written"):
        write_rows(tmp_path / "none" / "x.csv", ROWS)
