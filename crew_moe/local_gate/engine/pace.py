"""How fast one hosted expert is, learnt from its batches: seconds = fixed + per token, by recent least squares."""

from __future__ import annotations

from typing import Final

NEWEST: Final = 0.2
"""The share of what is believed that each new batch replaces."""
SPREAD: Final = 0.1
"""Batches whose sizes differ less than this, as a share of their mean, say nothing of what a token costs."""


class Pace:
    """What a batch takes. Before the first one is seen, everything is expected to take no time.

    >>> pace = Pace()
    >>> for tokens in (100, 300, 200, 400):
    ...     pace.saw(tokens, 0.010 + tokens * 0.0001)
    >>> round(pace.expected(batches=2, tokens=500), 3)
    0.07
    """

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0
        self._squares = 0.0
        self._products = 0.0
        self._seen = False

    def saw(self, tokens: int, seconds: float) -> None:
        """One batch of so many tokens took this long."""
        weight = NEWEST if self._seen else 1.0
        self._seen = True
        self._tokens += weight * (tokens - self._tokens)
        self._seconds += weight * (seconds - self._seconds)
        self._squares += weight * (tokens * tokens - self._squares)
        self._products += weight * (tokens * seconds - self._products)

    def expected(self, *, batches: float, tokens: float) -> float:
        """Seconds for so many batches with so many tokens in all."""
        variance = self._squares - self._tokens**2
        per_token = 0.0
        if self._tokens and variance > (SPREAD * self._tokens) ** 2:
            slope = (self._products - self._tokens * self._seconds) / variance
            per_token = min(max(slope, 0.0), self._seconds / self._tokens)
        return batches * (self._seconds - per_token * self._tokens) + tokens * per_token
