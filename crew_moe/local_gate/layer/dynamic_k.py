"""Fewer FFN experts per token when there is much to do."""

from __future__ import annotations

import math
from typing import Final

from crew_moe.errors import InvalidInput

CALM: Final = 0.5
"""Up to this load every token keeps all its experts."""


def k_under(load: float, k: int) -> int:
    """How many of k experts a token keeps at a load between 0 (idle) and 1 (full, or above: top-1).

    >>> [k_under(load, 4) for load in (0.0, 0.5, 0.6, 0.8, 1.0, 3.0)]
    [4, 4, 3, 2, 1, 1]
    """
    if not load >= 0:
        what = f"a load of {load}"
        raise InvalidInput(what, where="load", allowed=("0 and above",))
    pressure = min(1.0, max(0.0, load - CALM) / (1 - CALM))
    return math.floor(k - pressure * (k - 1))
