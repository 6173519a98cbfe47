"""Labelled texts from files: parquet, CSV or JSON lines, checked row by row before anything is trained or measured."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from crew_moe.errors import InvalidInput, MissingExtra
from crew_moe.screening.corpus import Example

SUFFIXES: Final = (".parquet", ".csv", ".jsonl")
TEXTS: Final = ("id", "text")
MAX_CELL: Final = 64 * 1024 * 1024  # characters of one CSV cell; the library's own limit is 128 KiB
LABELS: Final = ("0", "1")
LABELLED: Final = ("id", "text", "label", "source", "category")

Row = Mapping[str, Any]


def read_rows(path: Path, columns: Collection[str]) -> list[Row]:
    """The rows of a file. Raises InvalidInput for a file, a column or a value that is not as it must be.

    `id` and `text` become text; an id may stand once only, and no value of `columns` may be missing.
    """
    rows = _table(path)
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        where = f"{path}: row {number}"
        for column in columns:
            _check(row, column, where)
        if "id" in columns and str(row["id"]) in seen:
            raise InvalidInput(f"the id '{row['id']}' stands there twice", where=where)
        seen.add(str(row.get("id")))
    return rows


def read_examples(path: Path) -> list[Example]:
    """Labelled texts; without a column `cluster` every text is its own."""
    return [
        Example(
            id=str(row["id"]),
            text=row["text"],
            label=_label(row["label"], f"{path}: id {row['id']}"),
            source=str(row["source"]),
            category=str(row["category"]),
            cluster=f"{path.stem}-{row.get('cluster', row['id'])}",
        )
        for row in read_rows(path, LABELLED)
    ]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of the same keys in the format of the file's ending; raises InvalidInput when that can't be done."""
    writers = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_lines}
    try:
        writers[_suffix(path)](path, rows)
    except OSError as error:
        raise InvalidInput(f"can't be written ({error.strerror or error})", where=str(path)) from None


def _table(path: Path) -> list[Row]:
    readers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _lines}
    read = readers[_suffix(path)]
    if not path.is_file():
        raise InvalidInput("there is no such file", where=str(path))
    try:
        rows = read(path)
    except (ValueError, OSError, csv.Error) as error:  # content that is not of the format
        raise InvalidInput(f"can't be read as {path.suffix[1:]} ({_first_line(error)})", where=str(path)) from None
    if not rows:
        raise InvalidInput("there is no row in it", where=str(path))
    return rows


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise InvalidInput(f"'{path.name}' is not a table", where=str(path), value=path.suffix, allowed=SUFFIXES)
    return path.suffix


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtra("learn", "pyarrow") from None


def _parquet(path: Path) -> list[Row]:
    rows: list[Row] = _pyarrow("pyarrow.parquet").read_table(path).to_pylist()
    return rows


def _csv(path: Path) -> list[Row]:
    csv.field_size_limit(MAX_CELL)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def _lines(path: Path) -> list[Row]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_object(line, number) for number, line in enumerate(lines, 1) if line.strip()]


def _object(line: str, number: int) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from None
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is not an object")
    return row


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    table = _pyarrow("pyarrow").Table.from_pylist(list(rows))
    _pyarrow("pyarrow.parquet").write_table(table, path)


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_lines(path: Path, rows: Sequence[Row]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def _check(row: Row, column: str, where: str) -> None:
    if column not in row:
        raise InvalidInput(f"the column '{column}' is missing", where=where.partition(": row")[0], allowed=sorted(row))
    value = row[column]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise InvalidInput(f"'{column}' is empty", where=where)
    if column == "text" and not isinstance(value, str):
        raise InvalidInput(f"'text' is {type(value).__name__}, not text", where=where)


def _label(value: Any, where: str) -> int:
    if str(value) not in LABELS:
        raise InvalidInput(f"the label is {value!r}", where=where, allowed=LABELS)
    return int(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
