"""Predictions beside what came true: which rows are judged, and which figures there are to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.errors import InvalidInput
from crew_moe.learning.quality.frontier import figures
from crew_moe.learning.quality.pairs import pair_figures
from crew_moe.learning.quality.table import COST, QUALITY, numbers
from crew_moe.screening.dataset import read_rows

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

ID: Final = "query_id"
PREDICTED: Final = "p:"
PREDICTED_COST: Final = "k:"
CONTAMINATED: Final = "contaminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to judge: rows where every column of `where` has its value, a pair (weak, strong) or None, and the file that
    mean costs are taken of where none are predicted.
    """

    where: Mapping[str, str]
    drop_contaminated: bool = False
    pair: tuple[str, str] | None = None
    cost_reference: Path | None = None


def scored(data: Path, predictions: Path, asked: Asked) -> dict[str, Any]:
    """All figures that can be told, JSON-ready. Raises InvalidInput for files that don't fit together."""
    rows = _kept(read_rows(data, (ID,)), data, asked)
    experts = tuple(name.removeprefix(QUALITY) for name in rows[0] if name.startswith(QUALITY))
    if not experts:
        raise InvalidInput("no expert's quality stands in it", where=str(data), allowed=("columns q:<expert>",))
    quality = _whole(rows, [QUALITY + one for one in experts], data, 1.0)
    cost = _whole(rows, [COST + one for one in experts], data, np.inf)
    said = _said(rows, predictions, experts)
    predicted = _whole(said, [PREDICTED + one for one in experts], predictions, np.inf)
    predicted_cost, source = _costs(said, experts, predictions, asked, cost)
    told: dict[str, Any] = {"rows": len(rows), "experts": len(experts), "costs": source}
    pair = asked.pair or (_by_cost(experts, cost, quality) if len(experts) == 2 else None)
    if pair is not None:
        weak, strong = (_place(one, experts) for one in pair)
        score = predicted[:, strong] - predicted[:, weak]
        told["pair"] = {"weak": pair[0], "strong": pair[1], **pair_figures(score, quality[:, weak], quality[:, strong])}
    return {**told, **figures(experts, predicted, predicted_cost, quality, cost)}


def _kept(rows: Sequence[Row], data: Path, asked: Asked) -> list[Row]:
    columns = sorted(rows[0])
    for column in (*asked.where, *([CONTAMINATED] if asked.drop_contaminated else [])):
        if column not in rows[0]:
            raise InvalidInput(f"there is no column '{column}' in it", where=str(data), value=column, allowed=columns)
    kept = [
        row
        for row in rows
        if all(str(row[column]) == value for column, value in asked.where.items())
        and not (asked.drop_contaminated and _true(row[CONTAMINATED]))
    ]
    if not kept:
        raise InvalidInput("no row is left to judge", where=str(data))
    return kept


def _true(value: Any) -> bool:
    return value is True or str(value).lower() in ("true", "1")


def _said(rows: Sequence[Row], predictions: Path, experts: Sequence[str]) -> list[Row]:
    """The prediction of each row."""
    found: dict[str, Row] = {}
    for row in read_rows(predictions, (ID, *(PREDICTED + one for one in experts))):
        found.setdefault(str(row[ID]), row)
    missing = next((str(row[ID]) for row in rows if str(row[ID]) not in found), None)
    if missing is not None:
        raise InvalidInput(f"there is no prediction for {ID} '{missing}'", where=str(predictions))
    return [found[str(row[ID])] for row in rows]


def _whole(rows: Sequence[Row], columns: Sequence[str], path: Path, most: float) -> Floats:
    """Values of which none may be missing; predictions may be any finite number."""
    missing = next((column for column in columns if column not in rows[0]), None)
    if missing is not None:
        raise InvalidInput(
            f"the column '{missing}' is missing", where=str(path), value=missing, allowed=sorted(rows[0])
        )
    found = numbers(rows, columns, path, most, negative=columns[0].startswith(PREDICTED))
    if np.isnan(found).any():
        row, column = np.argwhere(np.isnan(found))[0]
        raise InvalidInput(f"'{columns[column]}' is empty", where=f"{path}: row {row + 1}")
    return found


def _costs(
    said: Sequence[Row], experts: Sequence[str], predictions: Path, asked: Asked, cost: Floats
) -> tuple[Floats, str]:
    """What each row was thought to cost, and where that comes from."""
    if all(PREDICTED_COST + one in said[0] for one in experts):
        return _whole(said, [PREDICTED_COST + one for one in experts], predictions, np.inf), "predicted"
    mean, source = cost.mean(axis=0), "means of the data itself"
    if asked.cost_reference is not None:
        rows = read_rows(asked.cost_reference, ())
        mean = _whole(rows, [COST + one for one in experts], asked.cost_reference, np.inf).mean(axis=0)
        source = f"means of {asked.cost_reference.name}"
    return np.tile(mean, (len(said), 1)), source


def _by_cost(experts: tuple[str, ...], cost: Floats, quality: Floats) -> tuple[str, str] | None:
    """The cheaper of two, and the dearer; None where that is no better, so that there is nothing to choose."""
    weak, strong = np.argsort(cost.mean(axis=0), kind="stable")
    return (experts[weak], experts[strong]) if quality[:, strong].sum() > quality[:, weak].sum() else None


def _place(expert_id: str, experts: tuple[str, ...]) -> int:
    if expert_id not in experts:
        raise InvalidInput(f"unknown expert '{expert_id}'", where="--pair", value=expert_id, allowed=experts)
    return experts.index(expert_id)
