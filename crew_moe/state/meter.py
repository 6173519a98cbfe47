"""One meter: rates, places and closures, whether they leave a call room, and when they will.

A meter's time never goes back: whoever comes with an earlier clock sees the latest moment that anybody came with. Only
a clock that is further behind than clocks of one system ever are (CLOCK_TOLERANCE_US) shows that an earlier one had
been wrong; then everything that the meter remembers is moved along, lest it stay shut until that wrong moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from crew_moe.domain.meter import MAX_NAME, MAX_UNITS, PLACES, Busy, Demand, MeterStatus, Told, refuse_twins
from crew_moe.errors import InvalidInput
from crew_moe.state.bucket import Bucket

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
SECOND_US: Final = 1_000_000
CLOCK_TOLERANCE_US: Final = 300 * SECOND_US  # as Kerberos allows (RFC 4120)
DAY_US: Final = 86_400 * SECOND_US
KEEP_US: Final = 3_600 * SECOND_US  # how much longer than needed a store may keep a meter, in case its clock is wrong
MAX_LEASE_S: Final = 86_400.0


def to_us(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def from_us(moment_us: int) -> datetime:
    return EPOCH + moment_us * MICROSECOND


def kind_of(key: str) -> str:
    """What stands before the first colon of a meter's key."""
    return key.partition(":")[0]


def demanded(demands: Sequence[Demand]) -> tuple[Demand, ...]:
    """The demands of one call. Raises InvalidInput where two are for one meter: neither would know of the other."""
    if len(demands) > 1:
        refuse_twins("meter", [demand.key for demand in demands])
    return tuple(demands)


def leased(lease_s: float) -> int:
    """The microseconds of a lease. Raises InvalidInput for one that is no time, or longer than a day."""
    if not 0 < lease_s <= MAX_LEASE_S:
        allowed = (f"seconds above 0, up to {MAX_LEASE_S:,.0f}",)
        raise InvalidInput(f"{lease_s} s is no lease", where="lease_s", allowed=allowed)
    return ceil(lease_s * SECOND_US)


def used_units(used: Mapping[str, float] | None) -> Mapping[str, float]:
    """What a call is said to have used. Raises InvalidInput for what is no amount."""
    for name, amount in (used or {}).items():
        if not 0 <= amount <= MAX_UNITS:
            allowed = (f"a number from 0 to {MAX_UNITS:g}",)
            raise InvalidInput(f"{amount} units is no amount", where=f"rate '{name[:MAX_NAME]}'", allowed=allowed)
    return used or {}


@dataclass(slots=True)
class Meter:
    """Rates by name, places by passage (when each lease ends), and until when it is closed, by who said so.

    `at` is the latest moment that anybody came with, `limit` the places that the last demand knew of (0: any number).
    Changed in place, under the lock or inside the transaction of its store; `now` is what the caller's clock says.
    """

    at: int
    limit: int = 0
    rates: dict[str, Bucket] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)

    def clock(self, now: int) -> int:
        """The meter's own time: `now`, but never back. What a wrong clock left behind is moved along, to be stored."""
        if now >= self.at:
            return now
        if self.at - now <= CLOCK_TOLERANCE_US:
            return self.at
        self._move(now - self.at)
        return now

    def hindrance(self, demand: Demand, now: int) -> tuple[str, int] | None:
        """What stands in the way of a call, and until when; None: nothing."""
        now = self.clock(now)
        if self.closed:
            until, name = max((until, name) for name, until in self.closed.items())
            if until > now:
                return name, until
        for rate in demand.rates:
            bucket = self.rates.get(rate.name)
            if bucket is not None:
                until = bucket.fitted(rate, now).room_at(rate.amount)
                if until > now:
                    return rate.name, until
        if demand.concurrent is None or len(self.places) < demand.concurrent:
            return None
        until = self._place_at(demand.concurrent, now)
        return (PLACES, until) if until > now else None

    def take(self, demand: Demand, passage_id: str, lease_us: int, now: int) -> None:
        """What a call takes that nothing stands in the way of."""
        now = self.at = self.clock(now)
        for rate in demand.rates:
            found = self.rates.get(rate.name)
            bucket = Bucket.full(rate, now) if found is None else found.fitted(rate, now)
            bucket.owe(rate.amount, now)
            self.rates[rate.name] = bucket
        self.limit = demand.concurrent or 0
        if self.limit:
            self.places[passage_id] = now + lease_us

    def give_back(self, demand: Demand, passage_id: str, used: Mapping[str, float], now: int) -> None:
        """The end of a call that took `demand`: its place is free, its rates carry what was `used`."""
        now = self.at = self.clock(now)
        self.places.pop(passage_id, None)
        for rate in demand.rates:
            if rate.name in used:
                bucket = self.rates.get(rate.name) or Bucket.full(rate, now)
                bucket.owe(used[rate.name] - rate.amount, now)
                self.rates[rate.name] = bucket

    def tell(self, told: Told, now: int) -> None:
        """What a provider said of a rate. A figure without the capacity says nothing of a rate that nobody knows."""
        now = self.at = self.clock(now)
        bucket = self.rates.get(told.rate)
        if told.capacity is not None:
            if bucket is None:
                bucket = Bucket(at=now, per_us=told.per_us, capacity=float(told.capacity), asked=None)
            elif bucket.capacity != told.capacity:
                bucket = bucket.resized(float(told.capacity), bucket.per_us, bucket.asked, now)
            self.rates[told.rate] = bucket
        if told.remaining is not None and bucket is not None:
            bucket.fall_to(told.remaining, now)
        if told.remaining == 0 and told.resets_at is not None:
            self.close(told.rate, to_us(told.resets_at), now)

    def close(self, name: str, until: int, now: int) -> None:
        """Nothing passes before `until`, a day from now at most; what `name` said before is never shortened."""
        now = self.at = self.clock(now)
        self.closed = {who: end for who, end in self.closed.items() if end > now}
        until = max(self.closed.get(name, now), min(until, now + DAY_US))
        if until > now:
            self.closed[name] = until

    def busy_until(self) -> int:
        """Before this moment, maybe past, not even the least call has room."""
        moments = [bucket.room_at(1.0) for bucket in self.rates.values()]
        return max(self._place_at(self.limit, 0), *self.closed.values(), *moments, 0)

    def forget_at(self) -> int:
        """When it is as if it had never been: full, open and empty, for longer than clocks differ.

        A capacity that a provider told of is remembered for a day.
        """
        ends = [*self.places.values(), *self.closed.values(), self.at]
        ends += [bucket.room_at(bucket.capacity) for bucket in self.rates.values()]
        told = any(bucket.capacity != bucket.asked for bucket in self.rates.values())
        return max(ends) + (DAY_US if told else CLOCK_TOLERANCE_US)

    def status(self, key: str, now: int) -> MeterStatus:
        now = self.clock(now)
        until = self.busy_until()
        return MeterStatus(
            key=key,
            levels={name: b.level_at(now) for name, b in sorted(self.rates.items()) if b.debt_at(now) > 0},
            in_use=sum(ends > now for ends in self.places.values()),
            until=from_us(until) if until > now else None,
        )

    def _place_at(self, limit: int, now: int) -> int:
        """When one of `limit` places (0: any number) is free; `now` or earlier: there is one."""
        if limit and len(self.places) >= limit:
            self.places = {passage_id: ends for passage_id, ends in self.places.items() if ends > now}
            if len(self.places) >= limit:
                return sorted(self.places.values())[len(self.places) - limit]
        return now

    def _move(self, by: int) -> None:
        self.at += by
        self.places = {passage_id: ends + by for passage_id, ends in self.places.items()}
        self.closed = {name: until + by for name, until in self.closed.items()}
        for bucket in self.rates.values():
            bucket.at += by


def refusal(met: Iterable[tuple[Demand, Meter]], now: int) -> Busy | None:
    """The first meter in the order of the demands that a call can't pass; None: it may take of all of them."""
    for demand, meter in met:
        hindrance = meter.hindrance(demand, now)
        if hindrance is not None:
            return Busy(key=demand.key, rate=hindrance[0], until=from_us(hindrance[1]))
    return None
