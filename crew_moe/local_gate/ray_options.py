"""How a local gate is spread over a Ray cluster. Light: read before Ray itself is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crew_moe.errors import InvalidInput

MOST: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """Between `fewest` and `most` processes (replicas, of `cpus` each) hold the experts: so many that each has about
    `ongoing` calls at a time. `address` is a cluster's (None: one of this machine, for as long as it is needed).
    """

    address: str | None = None
    fewest: int = 1
    most: int = 4
    ongoing: int = 16
    cpus: float = 1.0


def read_replicas(told: str) -> tuple[int, int]:
    """`MIN:MAX` or one number for both. Raises InvalidInput.

    >>> read_replicas("1:4"), read_replicas("2")
    ((1, 4), (2, 2))
    """
    least, _, most = told.partition(":")
    numbers = [int(part) for part in (least, most or least) if part.isascii() and part.isdigit()]
    if len(numbers) == 2 and 1 <= numbers[0] <= numbers[1] <= MOST:
        return numbers[0], numbers[1]
    raise InvalidInput(
        "replicas are MIN:MAX, or one number", where="--replicas", value=told, allowed=(f"1:1 to {MOST}:{MOST}",)
    )
