"""From a request to the context that bandits learn on: 32 numbers about the text and the task, none about who asks.

What a request is about shows in its form long before there is data to train on: formulas, code, lists, questions for a
fact or for a number. Each number lies about between -1 and 1, without anything fitted to any data, so that a vector
means the same tomorrow. Nothing here reads a user, tenant, project or session: an arm can't learn whom it serves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.domain.task import TaskType

Floats = npt.NDArray[np.float64]

SAMPLE_CHARS: Final = 2_000  # of the beginning; the end is read beside it
ENDING_CHARS: Final = 200
MIDDLING_LOG_CHARS: Final = 5.5  # about 240 characters
LONG_LOG_CHARS: Final = 6.5
SHORT_LOG_CHARS: Final = 5.0
USUAL_WORD_CHARS: Final = 4.7
NO_EVIDENCE: Final = 0.2  # a task type guessed with no more than that is no guess

# Precisions of the weights by which an arm differs from the rest, in units of `ridge`.
CONSTANT_RIDGE: Final = 12.0
SIGNAL_RIDGE: Final = 100.0
TASK_RIDGE: Final = 30.0

MATHS: Final = ("$", "\\")
CODE: Final = ("def ", "return", "import ", "->", "()", ":\n", "```")
QUANTITY: Final = ("how many", "how much", "total", "each", " per ", "%")
FACTS: Final = ("who", "when", "where")
CODE_WORDS: Final = ("function", "code", "program")

_CAPITALISED: Final = re.compile(r"(?:^|\s)[A-Z]")
_DIGITS: Final = tuple("0123456789")


class _Text:
    """The readings that several signals share."""

    __slots__ = ("chars", "lowered", "sample", "start", "words")

    def __init__(self, text: str) -> None:
        self.chars = len(text)
        self.sample = text if self.chars <= SAMPLE_CHARS else text[:SAMPLE_CHARS]
        self.lowered = self.sample.lower()
        self.words = self.lowered.count(" ") + self.lowered.count("\n") + 1
        self.start = self.lowered.lstrip("\"' \n").partition(" ")[0]

    def marks(self, *marks: str) -> int:
        return sum([self.lowered.count(mark) for mark in marks])


Signal = Callable[[_Text, str], float]


def _share(count: float, of: float, scale: float) -> float:
    """How large a part of `of` it is, `scale` times, at most 1."""
    return min(1.0, scale * count / of) if of else 0.0


SIGNALS: Final[Mapping[str, Signal]] = {
    "length": lambda text, _: (math.log1p(text.chars) - MIDDLING_LOG_CHARS) / 1.5,
    "long": lambda text, _: max(0.0, math.log1p(text.chars) - LONG_LOG_CHARS),
    "short": lambda text, _: max(0.0, SHORT_LOG_CHARS - math.log1p(text.chars)) if text.chars else 0.0,
    "digits": lambda text, _: _share(text.marks(*_DIGITS), len(text.sample), 10),
    "maths": lambda text, _: min(1.0, text.marks(*MATHS) / 4),
    "code": lambda text, _: min(1.0, text.marks(*CODE) / 4),
    "question": lambda _, end: float(end.endswith("?")),
    "quantity": lambda text, _: min(1.0, text.marks(*QUANTITY) / 3),
    "lines": lambda text, _: min(1.0, text.sample.count("\n") / 10),
    "commas": lambda text, _: _share(text.sample.count(","), text.words, 4),
    "capitals": lambda text, _: _share(len(_CAPITALISED.findall(text.sample)), text.words, 4),
    "foreign": lambda text, _: 0.0 if text.sample.isascii() else _foreign(text.sample),
    "word_length": lambda text, _: max(-1.0, min(2.0, (len(text.sample) / text.words - 1 - USUAL_WORD_CHARS) / 1.5)),
    "write_code": lambda text, _: float("write" in text.lowered and any(w in text.lowered for w in CODE_WORDS)),
    "quotes": lambda text, _: min(1.0, text.sample.count('"') / 4),
    "unfinished": lambda _, end: float(bool(end) and end[-1] not in ".?:!"),
    "lower_start": lambda text, _: float(text.sample[:1].islower()),
    "fact": lambda text, _: float(text.start in FACTS),
}
TASKS: Final[Mapping[TaskType, int]] = {task: number for number, task in enumerate(TaskType)}
NAMES: Final = ("constant", *SIGNALS, "difficulty", *(f"task_{task.value}" for task in TASKS))
SIZE: Final = len(NAMES)  # 32
_DIFFICULTY: Final = 1 + len(SIGNALS)


def context_vector(text: str, features: Features, predicted: Insight | None = None) -> Floats:
    """The context, (32,), as NAMES calls its numbers. `difficulty` is how far the quality that a model predicts of the
    experts lies below the middle, on the average; 0 where nothing was predicted.
    """
    vector = np.zeros(SIZE)
    vector[0] = 1.0
    if text:
        read, end = _Text(text), text[-ENDING_CHARS:].rstrip()
        vector[1:_DIFFICULTY] = [signal(read, end) for signal in SIGNALS.values()]
    if predicted is not None and predicted.quality:
        vector[_DIFFICULTY] = 1.0 - 2.0 * sum(predicted.quality.values()) / len(predicted.quality)
    if features.task_confidence > NO_EVIDENCE:
        vector[_DIFFICULTY + 1 + TASKS[features.task_type]] = features.task_confidence
    return vector


def precision(ridge: float) -> Floats:
    """The ridge of each weight of an arm, (32,): gentle on the constant, for experts do differ; firm on the rest, for a
    few thousand rewards can't tell 32 differences of each.
    """
    weights = np.full(SIZE, SIGNAL_RIDGE * ridge)
    weights[0] = CONSTANT_RIDGE * ridge
    weights[_DIFFICULTY + 1 :] = TASK_RIDGE * ridge
    return weights


def _foreign(sample: str) -> float:
    return _share(sum(1 for char in sample if ord(char) > 127), len(sample), 20)
