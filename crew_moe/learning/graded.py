"""Graded questions: files in which the answer of every expert to every question has a quality and a cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.errors import InvalidInput
from crew_moe.learning.context import context_vector
from crew_moe.routing.features import extract
from crew_moe.screening.dataset import read_rows

Floats = npt.NDArray[np.float64]

QUALITY: Final = "q:"
COST: Final = "c:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """`contexts` (rows, features), `quality` in [0, 1] and `cost` in US$, both (rows, experts)."""

    experts: tuple[str, ...]
    contexts: Floats
    quality: Floats
    cost: Floats

    @property
    def dearest(self) -> float:
        """The mean cost of the expert with the highest one, in US$."""
        return float(self.cost.mean(axis=0).max())


def read_graded(
    files: Sequence[Path], experts: Sequence[str] | None = None, step: Callable[[], None] = lambda: None
) -> Graded:
    """The rows of all files: `prompt`, and `q:<expert>` and `c:<expert>` for each of `experts` (default: every one of
    the first file). Raises InvalidInput for a file, column or value that is not as it must be; `step` is called for
    every row.
    """
    tables = [(path, read_rows(path, ("prompt",))) for path in files]
    chosen = _chosen(tables[0][0], list(tables[0][1][0]), experts)
    contexts, quality, cost = [], [], []
    for path, rows in tables:
        for number, row in enumerate(rows, 1):
            where = f"{path}: row {number}"
            contexts.append(_context(row["prompt"], where))
            quality.append([_number(row, QUALITY + one, where, most=1.0) for one in chosen])
            cost.append([_number(row, COST + one, where, most=math.inf) for one in chosen])
            step()
    return Graded(experts=chosen, contexts=np.array(contexts), quality=np.array(quality), cost=np.array(cost))


def _chosen(path: Path, columns: Sequence[str], experts: Sequence[str] | None) -> tuple[str, ...]:
    known = [column.removeprefix(QUALITY) for column in columns if column.startswith(QUALITY)]
    if len(known) < 2:
        raise InvalidInput(
            "at least two experts are needed", where=str(path), allowed=("columns q:<expert>, c:<expert>",)
        )
    if experts is None:
        return tuple(known)
    for one in experts:
        if one not in known:
            raise InvalidInput(f"unknown expert '{one}'", where=str(path), value=one, allowed=known)
    if len(set(experts)) < 2 or len(set(experts)) < len(experts):
        raise InvalidInput("two different experts are the least, and none twice", where="--arms", allowed=known)
    return tuple(experts)


def _context(prompt: Any, where: str) -> Floats:
    """The context of a question, as a request has it that names no task type."""
    if not isinstance(prompt, str):
        raise InvalidInput(f"'prompt' is {type(prompt).__name__}, not text", where=where)
    blank = {} if prompt.strip() else {"task_type": TaskType.ANALYSIS}
    return context_vector(prompt, extract(RoutingRequest(text=prompt, **blank)))


def _number(row: Any, column: str, where: str, *, most: float) -> float:
    if column not in row:
        raise InvalidInput(f"the column '{column}' is missing", where=where.partition(": row")[0])
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        raise InvalidInput(f"'{column}' is no number", where=where) from None
    if not 0.0 <= value <= most or math.isinf(value):
        raise InvalidInput(
            f"'{column}' is {value:g}", where=where, allowed=(f"0 to {most:g}" if most == 1.0 else "0 or more",)
        )
    return value
