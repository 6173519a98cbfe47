"""Ids of decisions."""

from __future__ import annotations

import itertools
import os

from crew_moe.state.forking import survives_fork


class DecisionIds:
    """Gives out ids that are unique over routers, processes and forks, and can't be guessed."""

    def __init__(self) -> None:
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """A forked child numbers its own."""
        self._prefix = f"d-{os.urandom(8).hex()}-"
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"
