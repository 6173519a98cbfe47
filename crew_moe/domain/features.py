"""What the router knows of a request: sizes and signals, never the text itself."""

from __future__ import annotations

from typing import NamedTuple

from crew_moe.domain.task import Modality, Risk, TaskType, Urgency


class Features(NamedTuple):
    """Signals of one request. Counts in characters, words and tokens; `script` as ISO 15924 names it.

    A tuple, because one is made for every decision.

    `task_confidence` is 1.0 when the caller named the task type, else what the evidence carries. `inferred` holds
    (field, confidence) for every field that a heuristic filled, so that a reader can tell given from guessed.
    """

    chars: int
    words: int
    input_tokens: int
    code_marks: int
    script: str
    task_type: TaskType
    task_confidence: float
    modality: Modality
    risk: Risk
    urgency: Urgency
    inferred: tuple[tuple[str, float], ...]
