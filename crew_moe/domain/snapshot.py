"""What the router has learned so far, frozen: performance, breakers, overrides, providers' shares.

Learning writes state; the next snapshot reads it. A decision sees one snapshot and nothing newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from crew_moe.domain.service import Service

STRATEGY_MARK: Final = "strategy:"


class Circuit(StrEnum):
    """State of a breaker, in Envoy's words."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """One breaker: of an expert (`expert:ID`) or of a provider (`provider:NAME`).

    `ejections` counts openings in a row and drives the back-off; no call passes before `until` (aware UTC), the end of
    an ejection or of the loan of the last probe; `probes` are the calls in flight while half-open.
    """

    state: Circuit = Circuit.CLOSED
    failures: int = 0
    ejections: int = 0
    until: datetime | None = None
    probes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """How one expert did at one task type: exponential moving averages (alpha 0.1) and their weight.

    `samples` decays with a half-life of one week; rates and scores lie in [0, 1], latency in ms, cost in US$ as a
    float (an average, never a charge), tokens per call; None was never observed. `learned` is the weight that feedback
    gave (seed 001).
    """

    samples: float
    success_rate: float | None
    latency_ms: float | None
    cost_usd: float | None
    input_tokens: float | None
    output_tokens: float | None
    quality: float | None
    learned: float | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A manual override: requests in its scope go to this expert alone (seed 000: expert pinning).

    A scope field that is None matches everything; the narrowest pin wins, then the newest. `strategy:NAME` in the
    place of an expert overrides how experts are ranked, instead of who serves.
    """

    expert_id: str
    task_type: str | None = None
    task: str | None = None
    tenant: str | None = None
    reason: str = ""
    by: str = ""
    created_at: datetime
    expires_at: datetime | None = None

    @property
    def strategy(self) -> str | None:
        """The strategy that it puts in force, None where it names an expert."""
        return self.expert_id.removeprefix(STRATEGY_MARK) if self.expert_id.startswith(STRATEGY_MARK) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything learned that a decision may read. `performance` is keyed by (expert id, task type); `busy` tells until
    when the provider of an expert has no room for more calls; `services` are the registered ones, by id.
    """

    version: int = 0
    taken_at: datetime
    performance: Mapping[tuple[str, str], Performance] = field(default_factory=dict)
    breakers: Mapping[str, Breaker] = field(default_factory=dict)
    pins: tuple[Pin, ...] = ()
    provider_share: Mapping[str, float] = field(default_factory=dict)
    busy: Mapping[str, datetime] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
