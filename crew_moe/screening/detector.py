"""A detector over a linear model: every reading of a text, window by window; the strongest decides."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.screening import THRESHOLD, Concern, Finding, Span
from crew_moe.screening.disguise import Unmasking
from crew_moe.screening.features import features, windows
from crew_moe.screening.linear import LinearModel
from crew_moe.screening.patterns import Pattern
from crew_moe.screening.text import fold, origin

DEPTH: Final = 3  # an encoded text may hold an encoded text; deeper nesting is not followed
MOST_SPANS: Final = 32  # of one text; evidence for people, not a list of everything


@dataclass(frozen=True, slots=True)
class LinearDetector:
    """Implements ports.Detector. `vocabulary` holds the words that somebody may want to hide.

    A text scores as its strongest window; its other readings (decoded, unscrambled) count as windows too. A flagged
    text gets spans that name the patterns found in it and the disguises that hid something.
    """

    model: LinearModel
    patterns: Sequence[Pattern]
    vocabulary: Collection[str]
    _weights: NDArray[np.float32] = field(init=False, repr=False)
    _unmasking: Unmasking = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = [self.model.patterns.get(pattern.name, 0.0) for pattern in self.patterns]
        object.__setattr__(self, "_weights", np.array(known, dtype=np.float32))
        object.__setattr__(self, "_unmasking", Unmasking(self.vocabulary))

    @property
    def concern(self) -> Concern:
        return self.model.concern

    @property
    def version(self) -> str:
        return self.model.version

    def assess(self, text: str) -> Finding:
        """Score one text; linear in its length."""
        folded = fold(text)
        logit, hidden = self._strongest(text, folded, DEPTH)
        score = self.model.score(logit)
        spans = islice(chain(hidden, self._spans(text, folded)), MOST_SPANS) if score >= THRESHOLD else ()
        return Finding(concern=self.concern, score=score, version=self.version, spans=tuple(spans))

    def _strongest(self, text: str, folded: str, depth: int) -> tuple[float, list[Span]]:
        """The most evidence in one window, reading or decoded segment, and the disguises of those that are flagged."""
        hidden: list[Span] = []
        best = -math.inf
        where = origin(text)
        for start, window in windows(folded):
            best = max(best, self._logit(window))
            for view in self._unmasking.readings(window):
                logit = self._logit(view.text)
                best = max(best, logit)
                if self._flags(logit):
                    hidden.append(Span(start=where(start), end=where(start + view.end - 1) + 1, type=view.disguise))
        for view in self._unmasking.segments(text) if depth else ():
            logit, _ = self._strongest(view.text, fold(view.text), depth - 1)
            best = max(best, logit)
            if self._flags(logit):
                hidden.append(Span(start=view.start, end=view.end, type=view.disguise))
        return best, hidden

    def _logit(self, window: str) -> float:
        return self.model.logit(features(window, self.patterns), self._weights)

    def _flags(self, logit: float) -> bool:
        return self.model.score(logit) >= THRESHOLD

    def _spans(self, text: str, folded: str) -> Iterator[Span]:
        """Where the patterns that speak for the concern stand in the text."""
        where = origin(text)
        for pattern, weight in zip(self.patterns, self._weights, strict=True):
            for start, end in pattern.places(folded) if weight > 0 else ():
                yield Span(start=where(start), end=where(end - 1) + 1, type=pattern.name)
