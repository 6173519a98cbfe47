"""How a local gate is spread over a Ray cluster. Light: read before Ray itself is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crew_moe.errors import InvalidInput
from crew_moe.settings import keep_ray_home

if TYPE_CHECKING:
    from crew_moe.domain.hosting import LocalPlan
    from crew_moe.local_gate.engine.lane import Pool

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


def ray_options(address: str | None, replicas: str | None) -> RayOptions:
    """As the command line tells it: `replicas` is MIN:MAX, or one number for both. Raises InvalidInput.

    >>> ray_options(None, "2:6").most, ray_options("10.0.0.1:6379", "3").fewest
    (6, 3)
    """
    if replicas is None:
        return RayOptions(address=address)
    least, colon, most = replicas.partition(":")
    numbers = [int(part) for part in (least, most if colon else least) if part.isascii() and part.isdigit()]
    if len(numbers) == 2 and 1 <= numbers[0] <= numbers[1] <= MOST:
        return RayOptions(address=address, fewest=numbers[0], most=numbers[1])
    raise InvalidInput(
        "replicas are MIN:MAX, or one number", where="--replicas", value=replicas, allowed=(f"1:1 to {MOST}:{MOST}",)
    )


@contextmanager
def spread(plan: LocalPlan, over: RayOptions | None) -> Iterator[Pool | None]:
    """The plan's hosts on a Ray cluster, while the block runs; None for this process alone. Raises MissingExtra and
    StateError.
    """
    if over is None:
        yield None
        return
    keep_ray_home(alone=over.address is None)  # Ray reads it when it is imported
    from crew_moe.local_gate.ray_serving import on_ray

    with on_ray(plan, over) as pool:
        yield pool
