"""One form that one kind of personal data takes, and how a form is looked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from crew_moe.domain.screening import THRESHOLD, PiiType, Span
from crew_moe.screening.pii.checks import Check, anything

BEFORE: Final = 56  # characters before a match in which words count as its context
AFTER: Final = 24
RAISE: Final = 0.35
DIGITS: Final = tuple("0123456789")
_NEVER: Final = re.compile(r"(?!)")


def words(*alternatives: str) -> re.Pattern[str]:
    """A pattern for context: any of these words or beginnings of words, in lower case."""
    return re.compile(r"\b(?:" + "|".join(alternatives) + ")")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of the table: what to look for, what must be right about it, and which words near by count.

    `pattern` must be linear: it begins where a run begins (look-behind) and takes runs whole (possessive). Its group
    `value`, where it has one, is the personal data itself. `needs`: the lower-case text holds one of these wherever the
    pattern matches; a text without them is not searched. `lower`: the pattern is for the text in lower case.
    `score` alone reaches the threshold only for forms that speak for themselves; `near` adds, `against` takes away.
    """

    type: PiiType
    pattern: re.Pattern[str]
    score: float
    check: Check = anything
    needs: tuple[str, ...] = ()
    lower: bool = False
    near: re.Pattern[str] = field(default=_NEVER)
    against: re.Pattern[str] = field(default=_NEVER)

    def find(self, text: str, lower: str) -> Iterator[Span]:
        """Spans that reach the threshold, in the order of the text; `lower` is the text in lower case, no longer."""
        if self.needs and not any(need in lower for need in self.needs):
            return
        group = "value" if "value" in self.pattern.groupindex else 0
        for found in self.pattern.finditer(lower if self.lower else text):
            start, end = found.span(group)
            length = self.check(text[start:end])
            if length == 0:
                continue
            score = self._in_context(lower, start, start + length)
            if score >= THRESHOLD:
                yield Span(start=start, end=start + length, type=self.type.value, score=score)

    def _in_context(self, lower: str, start: int, end: int) -> float:
        around = f"{lower[max(0, start - BEFORE) : start]} {lower[end : end + AFTER]}"
        raised = RAISE if self.near.search(around) else 0.0
        lowered = RAISE if self.against.search(around) else 0.0
        return round(min(1.0, self.score + raised - lowered), 2)
