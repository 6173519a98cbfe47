"""Values of the state as JSON text and back: every float and every microsecond survives the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from crew_moe.domain.snapshot import Breaker, Performance, Pin
from crew_moe.errors import StateError
from crew_moe.state import rows

T = TypeVar("T")
MISSING: Final = ""  # the text of a value that is not there


def text(value: Breaker | Performance) -> str:
    """The fields in their order, as a list."""
    return _dumped(rows.columns(value))


def breaker(found: str) -> Breaker:
    return _read(found, rows.breaker)


def performance(found: str) -> Performance:
    return _read(found, rows.performance)


def pins_text(pins: Iterable[Pin]) -> str:
    """All pins in one text: they are few, and a change may touch several."""
    return _dumped([rows.columns(pin) for pin in pins])


def pins(found: str) -> tuple[Pin, ...]:
    return _read(found or "[]", lambda listed: tuple(map(rows.pin, listed)))


def record_field(expert_id: str, task_type: str) -> str:
    """The name of a performance record."""
    return _dumped([expert_id, task_type])


def record_key(field: str) -> tuple[str, str]:
    """(expert id, task type) of such a name."""
    return _read(field, lambda named: (str(named[0]), str(named[1])))


def _read(found: str, parse: Callable[[Sequence[Any]], T]) -> T:
    try:
        return parse(json.loads(found))
    except (ValueError, TypeError, LookupError) as error:  # a server may be shared with anybody
        raise StateError(f"the state holds a value that can't be read: {error}") from error


def _dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
