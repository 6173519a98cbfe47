"""One bad call spoils no batch: a batch that fails is done again in halves, down to the call that it fails for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Final, TypeVar

from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed, MissingExtra

T = TypeVar("T")
R = TypeVar("R")

ALL_ALIKE: Final = frozenset(
    {Trouble.MISSING_EXTRA, Trouble.MISSING_WEIGHTS, Trouble.BAD_WEIGHTS, Trouble.UNAVAILABLE, Trouble.NOT_CAPABLE}
)
"""What concerns the expert and none of the texts: a second try would end as the first."""

TROUBLES: Final[tuple[tuple[type[BaseException], Trouble], ...]] = (
    (MemoryError, Trouble.OUT_OF_MEMORY),
    (MissingExtra, Trouble.MISSING_EXTRA),
    (TimeoutError, Trouble.UNAVAILABLE),
    (ConnectionError, Trouble.UNAVAILABLE),
)


def isolated(run: Callable[[Sequence[T]], Sequence[R | HostFailed]], items: Sequence[T]) -> list[R | HostFailed]:
    """An answer for each item, whatever `run` raises. An error's own words are kept out: they may hold the text."""
    try:
        return list(run(items))
    except HostFailed as error:
        failed = error.with_traceback(None)
    except BaseException as error:  # noqa: BLE001 - whatever there is: a panic of Rust code is no Exception
        failed = named(error)
    # Outside of `except`, so that what the failed try held in memory is free before the next.
    if len(items) == 1 or failed.trouble in ALL_ALIKE:
        return [failed] * len(items)
    middle = len(items) // 2
    return isolated(run, items[:middle]) + isolated(run, items[middle:])


def named(error: BaseException) -> HostFailed:
    """What a host must not raise, as what it should have raised: the kind of error and the line it came from."""
    trouble = next((trouble for kind, trouble in TROUBLES if isinstance(error, kind)), Trouble.MODEL_FAILED)
    if isinstance(error, MissingExtra):
        return HostFailed(trouble, str(error))
    frames = extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return HostFailed(trouble, f"the model raised {type(error).__name__}{where}")
