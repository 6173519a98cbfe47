"""Room at the providers: their rate limits, kept by everybody who shares the store, so that nobody runs into a 429.

Rates are no money: a store that can't be reached lets calls pass, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from crew_moe.domain.expert import Expert
from crew_moe.domain.meter import Busy, Demand, Passage, Rate, Told
from crew_moe.domain.usage import Usage
from crew_moe.errors import StateError
from crew_moe.ports import Clock, EventSink, Meters
from crew_moe.state.meter import MAX_LEASE_S

MINUTE_S: Final = 60.0
REQUESTS: Final = "requests"
INPUT_TOKENS: Final = "input_tokens"
OUTPUT_TOKENS: Final = "output_tokens"

T = TypeVar("T")


def meter_key(expert: Expert) -> str:
    """The meter of one expert at its provider."""
    return f"expert:{expert.expert_id}"


def demand_of(expert: Expert, *, input_tokens: int, output_tokens: int) -> Demand:
    """What one call takes of the expert's limits, as far as they are known."""
    limits = expert.limits
    wanted = (
        (REQUESTS, limits.requests_per_minute, 1.0),
        (INPUT_TOKENS, limits.input_tokens_per_minute, float(input_tokens)),
        (OUTPUT_TOKENS, limits.output_tokens_per_minute, float(output_tokens)),
    )
    rates = tuple(
        Rate(name=name, capacity=capacity, per_s=MINUTE_S, amount=amount)
        for name, capacity, amount in wanted
        if capacity is not None
    )
    return Demand(key=meter_key(expert), rates=rates, concurrent=limits.concurrent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turnstile:
    """Lets a call in when its provider has room, and takes note of what the provider says."""

    meters: Meters
    clock: Clock
    sink: EventSink

    def enter(self, expert: Expert, *, input_tokens: int, output_tokens: int, time_s: float) -> Passage | Busy | None:
        """A passage, or when there is room again; None for an expert of whom nobody knows a limit."""
        if not expert.limits.known:
            return None
        demand = demand_of(expert, input_tokens=input_tokens, output_tokens=output_tokens)
        lease_s = min(time_s + MINUTE_S, MAX_LEASE_S)
        return self._try(lambda: self.meters.take((demand,), self.clock.now(), lease_s=lease_s))

    def leave(self, passage: Passage | None, usage: Usage | None) -> None:
        """The call is over; `usage` is what it took (None: nobody knows, as much as was asked for)."""
        if passage is None:
            return
        used = None
        if usage is not None:
            used = {INPUT_TOKENS: float(usage.input_tokens), OUTPUT_TOKENS: float(usage.output_tokens)}
        self._try(lambda: self.meters.give_back(passage.id, self.clock.now(), used=used))

    def withdraw(self, passage: Passage | None) -> None:
        """The call was never made."""
        if passage is not None:
            nothing = {REQUESTS: 0.0, INPUT_TOKENS: 0.0, OUTPUT_TOKENS: 0.0}
            self._try(lambda: self.meters.give_back(passage.id, self.clock.now(), used=nothing))

    def told(self, expert: Expert, told: Sequence[Told]) -> None:
        """The provider said how much of its limits is left."""
        if told and expert.limits.known:
            self._try(lambda: self.meters.tell(meter_key(expert), told, self.clock.now()))

    def closed(self, expert: Expert, retry_after_ms: float | None) -> None:
        """The provider said that there is no room, and for how long."""
        if retry_after_ms is not None and expert.limits.known:
            now = self.clock.now()
            until = now + timedelta(milliseconds=retry_after_ms)
            self._try(lambda: self.meters.close_until(meter_key(expert), until, now))

    def _try(self, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except StateError as error:
            self.sink.emit("meters_lost", error=str(error))
            return None
