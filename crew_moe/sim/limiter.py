"""Rate limits of simulated providers: who is refused, and the headers that tell where the limits stand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from crew_moe.domain.expert import Expert
from crew_moe.domain.meter import Busy, RateLimits
from crew_moe.execution.turnstile import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, demand_of
from crew_moe.state.memory.meters import MemoryMeters

Headers = tuple[tuple[str, str], ...]

# What each rate is called, `{}` being limit, remaining or reset. OpenAI's API tells nothing of output alone.
_OPENAI: Final = {REQUESTS: "x-ratelimit-{}-requests", INPUT_TOKENS: "x-ratelimit-{}-tokens"}
_ANTHROPIC: Final = {
    REQUESTS: "anthropic-ratelimit-requests-{}",
    INPUT_TOKENS: "anthropic-ratelimit-input-tokens-{}",
    OUTPUT_TOKENS: "anthropic-ratelimit-output-tokens-{}",
}
_AT_ONCE_S: Final = 1e-6  # how long an answer takes that takes no time


@dataclass(slots=True)
class Limiter:
    """Counts what each expert's callers take. An expert whose limits nobody named takes everything."""

    limits: Mapping[str, RateLimits]
    _meters: MemoryMeters = field(default_factory=MemoryMeters)

    def refuses(
        self, expert: Expert, now: datetime, *, input_tokens: int, output_tokens: int, time_s: float
    ) -> float | None:
        """Seconds until there is room again; None lets the call in, for as long as its answer takes (`time_s`)."""
        limits = self.limits.get(expert.expert_id)
        if limits is None:
            return None
        demand = demand_of(replace(expert, limits=limits), input_tokens=input_tokens, output_tokens=output_tokens)
        found = self._meters.take((demand,), now, lease_s=max(time_s, _AT_ONCE_S))
        return (found.until - now).total_seconds() if isinstance(found, Busy) else None

    def headers(self, expert: Expert, now: datetime) -> Headers:
        """Limit, what remains, and when it is whole again, of each rate in the provider's own words."""
        limits = self.limits.get(expert.expert_id)
        if limits is None:
            return ()
        is_anthropic = expert.provider == "anthropic"
        demand = demand_of(replace(expert, limits=limits), input_tokens=0, output_tokens=0)
        levels = self._meters.status(demand.key, now).levels
        told: list[tuple[str, str]] = []
        for rate in demand.rates:
            name = (_ANTHROPIC if is_anthropic else _OPENAI).get(rate.name)
            level = levels.get(rate.name, rate.capacity)
            wait_s = (rate.capacity - level) / rate.capacity * rate.per_s
            reset = _moment(now, wait_s) if is_anthropic else _span(wait_s)
            figures = (("limit", f"{rate.capacity:g}"), ("remaining", f"{max(0, math.floor(level))}"), ("reset", reset))
            told += [(name.format(what), figure) for what, figure in figures] if name else []
        return tuple(told)


def _moment(now: datetime, wait_s: float) -> str:
    """RFC 3339, in whole seconds, as Anthropic tells it."""
    return f"{now + timedelta(seconds=math.ceil(wait_s)):%Y-%m-%dT%H:%M:%SZ}"


def _span(wait_s: float) -> str:
    """As OpenAI tells it: "120ms", "7.66s", "6m0s"."""
    if wait_s < 1:
        return f"{math.ceil(wait_s * 1000)}ms"
    minutes, seconds = divmod(round(wait_s, 3), 60)
    return f"{minutes:.0f}m{seconds:g}s" if minutes else f"{seconds:g}s"
