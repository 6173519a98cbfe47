"""What every expert's answer would have been worth, where that is known: graded answers from a file, by decision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crew_moe.errors import InvalidInput
from crew_moe.screening.dataset import read_rows

KEYS: Final = ("decision_id", "query_id")
QUALITY: Final = "q:"
COST: Final = "c:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """One answer: its quality in [0, 1] and its cost in US$."""

    quality: float
    cost_usd: float = 0.0


Truth = Mapping[str, Mapping[str, Grade]]  # by decision id, by expert id


def read_truth(path: Path) -> Truth:
    """The grades of a table (parquet, CSV, JSON lines): `decision_id` (or `query_id`), `q:<expert>`, `c:<expert>`.

    An empty cell is an answer that nobody graded; without a cost column an answer costs nothing. Raises InvalidInput
    for a file, a column or a value that is not as it must be.
    """
    rows = read_rows(path, ())
    key = next((name for name in KEYS if name in rows[0]), None)
    experts = [column.removeprefix(QUALITY) for column in rows[0] if column.startswith(QUALITY)]
    if key is None or not experts:
        allowed = (*KEYS, f"{QUALITY}<expert>", f"{COST}<expert>")
        raise InvalidInput("there is no column of ids, or none of qualities", where=str(path), allowed=allowed)
    truth: dict[str, Mapping[str, Grade]] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path}: row {number}"
        name = str(row[key])
        if name in truth:
            raise InvalidInput(f"the {key} '{name}' stands there twice", where=where)
        truth[name] = {expert: grade for expert in experts if (grade := _grade(row, expert, where)) is not None}
    return truth


def _grade(row: Mapping[str, Any], expert: str, where: str) -> Grade | None:
    quality = _number(row, QUALITY + expert, where)
    if quality is None:
        return None
    if not 0.0 <= quality <= 1.0:
        allowed = ("a number from 0 to 1",)
        raise InvalidInput(f"'{QUALITY}{expert}' is {quality:g}", where=where, allowed=allowed)
    cost = _number(row, COST + expert, where) or 0.0
    if cost < 0.0:
        raise InvalidInput(f"'{COST}{expert}' is {cost:g}", where=where, allowed=("US$, 0 or more",))
    return Grade(quality=quality, cost_usd=cost)


def _number(row: Mapping[str, Any], column: str, where: str) -> float | None:
    value = row.get(column)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"'{column}' is no number", where=where, allowed=("a number", "nothing")) from None
    return number if math.isfinite(number) else None
