"""What a quality model learns from: texts, how well each expert did at them, and what that cost.

A file has the columns `prompt` (or `text`), `q:<expert>` in [0, 1] and, where it is known, `c:<expert>` in US$; an
empty cell is an expert that was not asked. Any column of words may serve as labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.errors import InvalidInput
from crew_moe.learning.quality.sight import TEXT, Seen, see
from crew_moe.screening.dataset import SUFFIXES, read_rows

Floats = NDArray[np.float64]
Step = Callable[[], None]

QUALITY: Final = "q:"
COST: Final = "c:"
TEXTS: Final = ("prompt", "text")
USUAL_LABELS: Final = ("task_type", "dataset")  # read where they are there and nobody says which
FINER: Final = "subset"  # parts of a label, where the column is there
NO_LABELS: Final = "none"
LEAST_ROWS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """`quality` and `cost` are (rows, experts), NaN where nothing is known. `labels` and `finer` name each row's task
    and the part of it, "" for none. `sees` is what `seen` was made from; `texts` are those of the
    rows, where they are kept.
    """

    source: str
    experts: tuple[str, ...]
    seen: tuple[Seen, ...]
    quality: Floats
    cost: Floats
    labels: tuple[str, ...]
    finer: tuple[str, ...]
    sees: str = TEXT
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.seen)

    def among(self, rows: Sequence[int]) -> Table:
        """These rows alone."""
        return replace(
            self,
            seen=tuple(self.seen[row] for row in rows),
            quality=self.quality[list(rows)],
            cost=self.cost[list(rows)],
            labels=tuple(self.labels[row] for row in rows),
            finer=tuple(self.finer[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows) if self.texts else (),
        )


def read_tables(path: Path, labels: str | None, step: Step = lambda: None) -> list[Table]:
    """The tables of a file, or of every data file of a folder; files of the same experts make one table.

    `labels` is the column that tells tasks, NO_LABELS for none, None for the first of USUAL_LABELS that is there.
    Raises InvalidInput for a file, a column or a value that is not as it must be, MissingExtra without pyarrow.
    """
    read = [_table(file, labels, step) for file in _files(path)]
    sets = {table.experts: [one for one in read if one.experts == table.experts] for table in read}
    return [_graded(_joined(same)) for same in sets.values()]


def text_column(row: Mapping[str, Any], where: str) -> str:
    """The column that holds the text."""
    for name in TEXTS:
        if name in row:
            return name
    raise InvalidInput("there is no column with the text", where=where, allowed=TEXTS)


def numbers(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path, most: float, *, negative: bool = False
) -> Floats:
    """The values of these columns, (rows, columns); NaN for an empty cell. Raises InvalidInput outside [0, most], or
    where `negative` ones may be, for what is not finite.
    """
    found = np.array([[_number(row.get(column)) for column in columns] for row in rows], dtype=np.float64)
    found = found.reshape(len(rows), len(columns))
    wrong = np.argwhere(np.isinf(found) | (found > most) | ((found < 0.0) & (not negative)))
    if len(wrong):
        row, column = wrong[0]
        allowed = ("a number from 0 to 1" if most == 1.0 else "a number of 0 or more", "an empty cell")
        where = f"{path}: row {row + 1}: {columns[column]}"
        raise InvalidInput(f"{rows[row][columns[column]]!r:.40} can't be", where=where, allowed=allowed)
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise InvalidInput("there is no table in it", where=str(path), allowed=[f"*{suffix}" for suffix in SUFFIXES])
    return files


def _table(path: Path, labels: str | None, step: Step) -> Table:
    rows = read_rows(path, ())
    experts = tuple(sorted(name.removeprefix(QUALITY) for name in rows[0] if name.startswith(QUALITY)))
    if not all(experts):
        raise InvalidInput(f"the column '{QUALITY}' names no expert", where=str(path), allowed=("columns q:<expert>",))
    if not experts:
        raise InvalidInput("no expert's quality stands in it", where=str(path), allowed=("columns q:<expert>",))
    if len(rows) < LEAST_ROWS:
        raise InvalidInput(
            f"{len(rows)} rows are too few to learn from", where=str(path), allowed=(f"{LEAST_ROWS} or more",)
        )
    text = text_column(rows[0], str(path))
    seen = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get(text), str):
            raise InvalidInput(f"'{text}' is not text", where=f"{path}: row {number}")
        seen.append(see(row[text]))
        step()
    named = _labels(rows, labels, path)
    return Table(
        source=path.name,
        experts=experts,
        seen=tuple(seen),
        quality=numbers(rows, [QUALITY + one for one in experts], path, 1.0),
        cost=numbers(rows, [COST + one for one in experts], path, math.inf),
        labels=named,
        finer=tuple(str(row.get(FINER) or "") for row in rows) if any(named) else ("",) * len(rows),
        texts=tuple(row[text] for row in rows),
    )


def _labels(rows: Sequence[Mapping[str, Any]], column: str | None, path: Path) -> tuple[str, ...]:
    if column is None:
        column = next((name for name in USUAL_LABELS if name in rows[0]), NO_LABELS)
    elif column != NO_LABELS and column not in rows[0]:
        texts = [name for name in rows[0] if not name.startswith((QUALITY, COST, *TEXTS))]
        raise InvalidInput(
            f"there is no column '{column}' in it", where=str(path), value=column, allowed=[*texts, NO_LABELS]
        )
    values = [str(row.get(column) or "") for row in rows]
    if len(set(values)) > max(1, len(rows) // 5):
        what = f"'{column}' has {len(set(values))} different values in {len(rows)} rows: too many for tasks"
        raise InvalidInput(what, where=str(path))
    return tuple(values)


def _joined(tables: Sequence[Table]) -> Table:
    if len(tables) == 1:
        return tables[0]
    return replace(
        tables[0],
        source=", ".join(table.source for table in tables),
        seen=tuple(one for table in tables for one in table.seen),
        quality=np.vstack([table.quality for table in tables]),
        cost=np.vstack([table.cost for table in tables]),
        labels=tuple(one for table in tables for one in table.labels),
        finer=tuple(one for table in tables for one in table.finer),
        texts=tuple(one for table in tables for one in table.texts),
    )


def _graded(table: Table) -> Table:
    """Without experts that no row grades: nothing is learned of them, and they are predicted by a prior."""
    kept = np.flatnonzero(~np.isnan(table.quality).all(axis=0))
    if len(kept) == len(table.experts):
        return table
    if not len(kept):
        raise InvalidInput("no row has a grade", where=table.source, allowed=("a number from 0 to 1 in q:<expert>",))
    experts = tuple(table.experts[one] for one in kept.tolist())
    return replace(table, experts=experts, quality=table.quality[:, kept], cost=table.cost[:, kept])


def _number(value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.inf  # refused with the others that can't be


def leaves_of(table: Table, fewest: int) -> tuple[tuple[str, str], ...]:
    """(label, part of it) of each row; parts with fewer rows than that are not told apart."""
    pairs = list(zip(table.labels, table.finer, strict=True))
    sizes = Counter(pairs)
    return tuple((label, part if sizes[label, part] >= fewest else "") for label, part in pairs)
