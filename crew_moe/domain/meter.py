"""Rates: how much may pass in a time, and how much at once: a provider's limits and a user's cooldown alike.

A meter is a token bucket: it holds `capacity`, and refills evenly within `per_s` seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`capacity` units within `per_s` seconds, of which a call takes `amount`.

    More than the whole capacity is never there at once: a call that needs it passes when the bucket is full.
    """

    name: str
    capacity: float
    per_s: float
    amount: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one call takes of one meter: of its rates, and one of `concurrent` places (None: any number)."""

    key: str
    rates: tuple[Rate, ...] = ()
    concurrent: int | None = None


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
    """What a provider said of one rate: how much is left, how much there is in all, when it is full again."""

    rate: str
    remaining: float | None = None
    capacity: float | None = None
    resets_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """A provider's limits for one expert, per minute and at once; None: none known."""

    requests_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    concurrent: int | None = None

    @property
    def known(self) -> bool:
        return self != _UNKNOWN


_UNKNOWN = RateLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterState:
    """One bucket as a store keeps it: what it held at `at`; nothing passes before `closed_until` if that is set."""

    level: float
    at: datetime
    capacity: float
    per_s: float
    closed_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterStatus:
    """How one meter stands: its buckets by rate, and how many places are taken."""

    key: str
    levels: Mapping[str, float] = field(default_factory=dict)
    in_use: int = 0
