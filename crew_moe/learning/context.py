"""From a request to the context that bandits learn on: 32 numbers about the text and the task, none about who asks.

What a request is about shows in its form long before there is data to train on: code, formulas, a word problem, a list,
a passage to read, a question for a name. So a text has one of a few kinds, which a weight of its own makes as good as
a label, beside a handful of measures. Each number lies about between -1 and 1, without anything fitted to any data, so
that a vector means the same tomorrow. Nothing here reads a user, tenant, project or session: an arm can't learn whom it
serves.
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
NO_EVIDENCE: Final = 0.2  # a task type guessed with no more than that is no guess

# Precisions of the weights by which an arm differs from the rest, in units of `ridge`.
CONSTANT_RIDGE: Final = 48.0
MEASURE_RIDGE: Final = 100.0
KIND_RIDGE: Final = 20.0
TASK_RIDGE: Final = 30.0

CODE: Final = ("def ", "return", "import ", "->", "()", ":\n", "```")
CODE_WORDS: Final = ("function", "code", "program")
_NUMBER: Final = re.compile(r"[0-9]+")
_CAPITAL: Final = re.compile(r"[A-Z]")


class _Text:
    """The readings that measures and kinds share."""

    __slots__ = ("capitals", "chars", "digits", "end", "formulas", "lowered", "names", "numbers", "sample", "words")

    def __init__(self, text: str) -> None:
        self.chars = len(text)
        self.end = text[-ENDING_CHARS:].rstrip()[-1:]
        self.sample = text if self.chars <= SAMPLE_CHARS else text[:SAMPLE_CHARS]
        self.lowered = self.sample.lower()
        self.words = self.lowered.count(" ") + self.lowered.count("\n") + 1
        numbers = _NUMBER.findall(self.lowered)
        self.numbers, self.digits = len(numbers), sum(map(len, numbers))
        starts = [found.start() for found in _CAPITAL.finditer(self.sample)]
        words = [at for at in starts if at == 0 or self.sample[at - 1].isspace()]
        self.capitals = len(words)
        self.names = sum([at > 1 and self._goes_on(self.sample[at - 2]) for at in words])
        self.formulas = self.marks("$", "\\")

    @staticmethod
    def _goes_on(before: str) -> bool:
        """Whether a capital behind this character begins no sentence."""
        return before == "," or "a" <= before <= "z"

    def marks(self, *marks: str) -> int:
        return sum([self.lowered.count(mark) for mark in marks])

    def asks_for_code(self) -> bool:
        wanted = "write" in self.lowered or "function" in self.lowered
        return self.chars < 600 and wanted and any(word in self.lowered for word in CODE_WORDS)

    def is_list(self) -> bool:
        return self.words > 4 and self.sample.count(",") >= self.words / 2 and "?" not in self.sample

    def is_open(self) -> bool:
        """Whether it ends without a mark that ends a sentence."""
        return self.end not in ".?:!"


MEASURES: Final[Mapping[str, Callable[[_Text], float]]] = {
    "length": lambda text: (math.log1p(text.chars) - MIDDLING_LOG_CHARS) / 1.5,
    "digits": lambda text: min(1.0, 10 * text.digits / len(text.sample)),
    "formulas": lambda text: min(1.0, text.formulas / 4),
    "capitals": lambda text: min(1.0, 4 * text.capitals / text.words),
    "foreign": lambda text: 0.0 if text.sample.isascii() else _foreign(text.sample),
}
# The first that holds; a plain question or sentence has none of them.
KINDS: Final[Mapping[str, Callable[[_Text], bool]]] = {
    "code": lambda text: text.marks(*CODE) >= 2,
    "code_wanted": _Text.asks_for_code,
    "list": _Text.is_list,
    "passage": lambda text: text.chars > 900 and text.numbers < 12,
    "formula": lambda text: text.formulas >= 2,
    "lines": lambda text: text.sample.count("\n") >= 3,
    "numbers": lambda text: text.numbers >= 2,
    "paragraph": lambda text: text.chars > 250,
    "query": lambda text: text.is_open() and text.sample[:1].islower(),
    "beginning": _Text.is_open,
    "names": lambda text: text.names >= 2,
    "name": lambda text: text.names == 1,
    "short": lambda text: text.chars <= 90,
}
TASKS: Final[Mapping[TaskType, int]] = {task: number for number, task in enumerate(TaskType)}
NAMES: Final = ("constant", *MEASURES, "difficulty", *(f"is_{kind}" for kind in KINDS), *(f"task_{t}" for t in TASKS))
SIZE: Final = len(NAMES)  # 32
_DIFFICULTY: Final = 1 + len(MEASURES)
_FIRST_KIND: Final = _DIFFICULTY + 1
_FIRST_TASK: Final = _FIRST_KIND + len(KINDS)


def context_vector(text: str, features: Features, predicted: Insight | None = None) -> Floats:
    """The context, (32,), as NAMES calls its numbers. `difficulty` is how far the quality that a model predicts of the
    experts lies below the middle, on the average; 0 where nothing was predicted.
    """
    vector = np.zeros(SIZE)
    vector[0] = 1.0
    if text:
        read = _Text(text)
        vector[1:_DIFFICULTY] = [measure(read) for measure in MEASURES.values()]
        kind = next((place for place, holds in enumerate(KINDS.values(), _FIRST_KIND) if holds(read)), None)
        if kind is not None:
            vector[kind] = 1.0
    if predicted is not None and predicted.quality:
        vector[_DIFFICULTY] = 1.0 - 2.0 * sum(predicted.quality.values()) / len(predicted.quality)
    if features.task_confidence > NO_EVIDENCE:
        vector[_FIRST_TASK + TASKS[features.task_type]] = features.task_confidence
    return vector


def precision(ridge: float) -> Floats:
    """The ridge of each weight of an arm, (32,): gentle where experts do differ, by themselves and by the kind of text;
    firm on the rest, for a few thousand rewards can't tell 32 differences of each.
    """
    weights = np.full(SIZE, MEASURE_RIDGE * ridge)
    weights[0] = CONSTANT_RIDGE * ridge
    weights[_FIRST_KIND:_FIRST_TASK] = KIND_RIDGE * ridge
    weights[_FIRST_TASK:] = TASK_RIDGE * ridge
    return weights


def _foreign(sample: str) -> float:
    """The share of characters outside ASCII, enlarged: a twentieth is all there is to tell."""
    return min(1.0, 20 * sum(1 for char in sample if ord(char) > 127) / len(sample))
