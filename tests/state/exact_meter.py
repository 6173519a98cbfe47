"""What a meter is by its definition, in exact fractions: the oracle of the stores. It knows levels, not debts."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil

from crew_moe.domain.meter import PLACES, Demand, Rate, Told

MICROSECOND = timedelta(microseconds=1)
TOLERANCE = timedelta(minutes=5)
DAY = timedelta(days=1)


def _units(number: float) -> Fraction:
    return Fraction(number).limit_denominator(1_000)


@dataclass
class ExactRate:
    capacity: Fraction
    per: timedelta
    level: Fraction
    at: datetime
    asked: Fraction | None

    def after(self, elapsed: timedelta) -> Fraction:
        return min(
            self.capacity,
            self.level + self.capacity * Fraction(elapsed / MICROSECOND) / Fraction(self.per / MICROSECOND),
        )

    def room_at(self, amount: Fraction) -> datetime:
        missing = max(Fraction(0), min(amount, self.capacity) - self.level)
        return self.at + ceil(missing * Fraction(self.per / MICROSECOND) / self.capacity) * MICROSECOND

    def become(self, level: Fraction, now: datetime) -> None:
        self.level, self.at = min(level, self.capacity), now

    def resize(self, capacity: Fraction, now: datetime) -> None:
        gone = self.capacity - self.after(now - self.at)
        self.capacity = capacity
        self.become(max(Fraction(0), capacity - gone) if gone else capacity, now)


@dataclass
class ExactMeter:
    """One meter, at its own time `at`; `now` is the caller's clock, which may be wrong."""

    at: datetime
    rates: dict[str, ExactRate] = field(default_factory=dict)
    places: dict[str, datetime] = field(default_factory=dict)
    closed: dict[str, datetime] = field(default_factory=dict)
    limit: int | None = None

    def seen(self, now: datetime) -> ExactMeter:
        """A copy at the meter's own time, after everything that time alone does to it; the clock's errors are noted."""
        if self.at - now > TOLERANCE:
            self._shift(now - self.at)
        if now >= self._forgotten_at():
            return ExactMeter(now)
        copy = deepcopy(self)
        copy.at = max(self.at, now)
        return copy

    def hindrance(self, demand: Demand) -> tuple[str, datetime] | None:
        candidates = sorted(self.closed.items(), key=lambda pair: pair[::-1])[-1:]
        for rate in demand.rates:
            if rate.name in self.rates:
                fitted = deepcopy(self)
                fitted._fit(rate)
                candidates.append((rate.name, fitted.rates[rate.name].room_at(_units(rate.amount))))
        if demand.concurrent is not None:
            candidates.append((PLACES, self._place_at(demand.concurrent)))
        return next(((name, until) for name, until in candidates if until > self.at), None)

    def take(self, demand: Demand, passage: str, lease: timedelta) -> None:
        for rate in demand.rates:
            self._fit(rate)
            self._add(rate.name, -_units(rate.amount))
        self.limit = demand.concurrent
        if demand.concurrent is not None:
            self.places[passage] = self.at + lease

    def give_back(self, demand: Demand, passage: str, used: Mapping[str, float]) -> None:
        self.places.pop(passage, None)
        for rate in demand.rates:
            if rate.name in used:
                if rate.name not in self.rates:
                    self._fit(rate)
                self._add(rate.name, _units(rate.amount) - _units(used[rate.name]))

    def tell(self, told: Told) -> None:
        rate = self.rates.get(told.rate)
        if told.capacity is not None:
            capacity = _units(told.capacity)
            if rate is None:
                rate = ExactRate(capacity, timedelta(seconds=told.per_s), capacity, self.at, None)
                self.rates[told.rate] = rate
            elif rate.capacity != capacity:
                rate.resize(capacity, self.at)
        if told.remaining is not None and rate is not None:
            rate.become(min(rate.after(self.at - rate.at), _units(told.remaining)), self.at)
        if told.remaining == 0 and told.resets_at is not None:
            self.close(told.rate, told.resets_at)

    def close(self, name: str, until: datetime) -> None:
        self.closed = {who: end for who, end in self.closed.items() if end > self.at}
        if until > self.at:
            self.closed[name] = max(self.closed.get(name, self.at), min(until, self.at + DAY))

    def busy_until(self) -> datetime | None:
        ends = [rate.room_at(Fraction(1)) for rate in self.rates.values()] + list(self.closed.values())
        if self.limit is not None:
            ends.append(self._place_at(self.limit))
        return max((end for end in ends if end > self.at), default=None)

    def levels(self) -> dict[str, float]:
        found = {name: rate.after(self.at - rate.at) for name, rate in self.rates.items()}
        return {name: float(level) for name, level in found.items() if level < self.rates[name].capacity}

    def in_use(self) -> int:
        return sum(end > self.at for end in self.places.values())

    def _fit(self, rate: Rate) -> None:
        """As the demand knows the rate, unless the provider told of another capacity."""
        asked = _units(rate.capacity)
        known = self.rates.get(rate.name)
        if known is None:
            known = self.rates[rate.name] = ExactRate(asked, timedelta(seconds=rate.per_s), asked, self.at, asked)
        if known.asked not in (None, asked):
            known.resize(asked, self.at)
        known.asked = asked

    def _add(self, name: str, units: Fraction) -> None:
        rate = self.rates[name]
        rate.become(rate.after(self.at - rate.at) + units, self.at)

    def _place_at(self, limit: int) -> datetime:
        live = sorted(end for end in self.places.values() if end > self.at)
        return live[len(live) - limit] if len(live) >= limit else self.at

    def _forgotten_at(self) -> datetime:
        ends = [self.at, *self.places.values(), *self.closed.values()]
        ends += [rate.room_at(rate.capacity) for rate in self.rates.values()]
        told = any(rate.capacity != rate.asked for rate in self.rates.values())
        return max(ends) + (DAY if told else TOLERANCE)

    def _shift(self, by: timedelta) -> None:
        self.at += by
        self.places = {name: end + by for name, end in self.places.items()}
        self.closed = {name: end + by for name, end in self.closed.items()}
        for rate in self.rates.values():
            rate.at += by
