"""How much of the recent traffic one expert may have: what is over goes to the next one.

An expert's capacity is ceil(factor * WINDOW / experts) of the last WINDOW choices (the capacity factor of Switch
Transformers, Fedus et al. 2021, over time instead of over a batch). With a factor of 1 or more there is always room
somewhere; below that, the first choice serves where nobody has room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

WINDOW: Final = 64  # choices


@dataclass(frozen=True, slots=True)
class Recent:
    """The last choices, oldest first; a value: a new one comes of each choice.

    >>> Recent(("a", "b")).after("a").experts
    ('a', 'b', 'a')
    """

    experts: tuple[str, ...] = ()

    def after(self, expert: str) -> Self:
        """With one choice more."""
        return type(self)((*self.experts[-(WINDOW - 1) :], expert))

    def with_room(self, ranked: Sequence[str], factor: float | None) -> str:
        """The first of them, best first, that is below its capacity."""
        if factor is None:
            return ranked[0]
        capacity = math.ceil(factor * WINDOW / len(ranked))
        lately = self.experts[-(WINDOW - 1) :]  # with the next one they are WINDOW
        return next((expert for expert in ranked if lately.count(expert) < capacity), ranked[0])
