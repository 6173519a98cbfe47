"""Rates: how much may pass in a time, and how much at once: a provider's limits and a user's cooldown alike.

A rate is a token bucket: it holds `capacity`, and refills evenly within `per_s` seconds. A meter has any number of
rates, and places for as many calls as may be under way at once. Its key is any text; what stands before the first colon
is its kind (`expert:gpt-4o`, `cooldown:ask:user:7`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import ClassVar, Final

from crew_moe.errors import InvalidInput

PLACES: Final = "concurrent"  # what a Busy names as its rate when all places are taken
CLOSED: Final = "closed"  # ... when the whole meter was closed for a while
MAX_KEY: Final = 500
MAX_NAME: Final = 100
MAX_UNITS: Final = 1e15
MIN_CAPACITY: Final = 1e-9
MAX_PER_S: Final = 366 * 86_400.0
MAX_PLACES: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`capacity` units within `per_s` seconds, of which a call takes `amount`.

    More than the whole capacity is never there at once: a call that needs it passes when the bucket is full, and leaves
    it below zero. `per_us` is the period in whole microseconds. Raises InvalidInput for figures that are no rate (NaN,
    nothing, more than a year).
    """

    name: str
    capacity: float
    per_s: float
    amount: float = 1.0
    per_us: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (
            MIN_CAPACITY <= self.capacity <= MAX_UNITS
            and 1e-6 <= self.per_s <= MAX_PER_S
            and 0 <= self.amount <= MAX_UNITS
            and 0 < len(self.name) <= MAX_NAME
            and self.name not in (PLACES, CLOSED)
            and self.name.isprintable()
        ):
            _refuse_rate(self)
        object.__setattr__(self, "per_us", ceil(self.per_s * 1e6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one call takes of one meter: of its rates, and one of `concurrent` places (None: any number).

    Raises InvalidInput for a key that is empty or too long, for no place at all, for a rate that stands there twice.
    """

    key: str
    rates: tuple[Rate, ...] = ()
    concurrent: int | None = None

    def __post_init__(self) -> None:
        check_key(self.key)
        if self.concurrent is not None and not 1 <= self.concurrent <= MAX_PLACES:
            allowed = (f"a whole number from 1 to {MAX_PLACES:,}",)
            raise InvalidInput(f"{self.concurrent} is no number of places", where=PLACES, allowed=allowed)
        if len(self.rates) > 1:
            refuse_twins("rate", [rate.name for rate in self.rates])


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A call may pass; `id` gives back what it did not use, and its places."""

    ok: ClassVar[bool] = True

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A call may not pass yet: the first meter without room, which of its rates (`concurrent`: its places), and when
    there will be room, by what is known now.
    """

    ok: ClassVar[bool] = False

    key: str
    rate: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a provider said of one rate: how much is left, how much there is in all, when it is full again.

    `per_s` is the period of a rate that the meter does not know yet. Raises InvalidInput for figures that are no rate.
    """

    rate: str
    remaining: float | None = None
    capacity: float | None = None
    resets_at: datetime | None = None
    per_s: float = 60.0

    def __post_init__(self) -> None:
        Rate(name=self.rate, capacity=1.0 if self.capacity is None else self.capacity, per_s=self.per_s)
        if self.remaining is not None and not 0 <= self.remaining <= MAX_UNITS:
            _refuse(self.rate, f"{self.remaining} units can't be left", f"a number from 0 to {MAX_UNITS:g}")

    @property
    def per_us(self) -> int:
        """The period in whole microseconds."""
        return ceil(self.per_s * 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """A provider's limits for one expert, per minute and at once; None: none known."""

    requests_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    concurrent: int | None = None

    @property
    def known(self) -> bool:
        return self != NO_LIMITS


NO_LIMITS: Final = RateLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterStatus:
    """How one meter stands: what its rates hold (one that is not named is full), how many places are taken, and when a
    call has room again (None: it has).
    """

    key: str
    levels: Mapping[str, float] = field(default_factory=dict)
    in_use: int = 0
    until: datetime | None = None


def check_key(key: str) -> None:
    """Raises InvalidInput for what is no key of a meter."""
    if not 0 < len(key) <= MAX_KEY:
        allowed = (f"a text of 1 to {MAX_KEY} characters",)
        raise InvalidInput(f"a text of {len(key)} characters is no key", where="meter", allowed=allowed)


def refuse_twins(what: str, names: Sequence[str]) -> None:
    """Raises InvalidInput where a name stands there twice."""
    if len(set(names)) < len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"one {what} stands there twice: '{twin[:MAX_NAME]}'", where="demand")


def _refuse_rate(rate: Rate) -> None:
    name = rate.name[:MAX_NAME]
    _refuse(
        name,
        f"{rate.amount} of {rate.capacity} units in {rate.per_s} s is no rate",
        f"a name of 1 to {MAX_NAME} printable characters other than '{PLACES}' and '{CLOSED}'",
        f"a capacity from {MIN_CAPACITY:g} to {MAX_UNITS:g}",
        f"a period from 1e-06 to {MAX_PER_S:,.0f} s",
        f"an amount from 0 to {MAX_UNITS:g}",
    )


def _refuse(where: str, what: str, *allowed: str) -> None:
    raise InvalidInput(what, where=f"rate '{where}'", allowed=allowed)
