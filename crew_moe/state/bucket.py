"""One rate as arithmetic: what it holds, and when there is room.

It is kept as what it owes until it is full: the leaky bucket that is a token bucket seen from above (Turner, 1986).
Time alone pays a debt back, so that nothing has to be written while a rate refills. Moments are whole microseconds
since 1970, debts are units times the microseconds of the period, so that with whole units every answer is exact. All
stores do the same operations on the same doubles in the same order, and so give the same answers bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from crew_moe.domain.meter import Rate

MAX_DEBT_US: Final = 366 * 86_400 * 1_000_000  # what one broken figure may cost


@dataclass(slots=True)
class Bucket:
    """One rate: what it owed at `at`, in units times microseconds of its period.

    `asked` is the capacity that demands name, `capacity` the one that holds: a provider may have told of another one.
    """

    at: int
    per_us: int
    capacity: float
    asked: float | None
    debt: float = 0.0

    @classmethod
    def full(cls, rate: Rate, now: int) -> Bucket:
        """A rate of which nothing is taken."""
        return cls(at=now, per_us=rate.per_us, capacity=float(rate.capacity), asked=rate.capacity)

    def debt_at(self, now: int) -> float:
        return max(0.0, self.debt - (now - self.at) * self.capacity)

    def level_at(self, now: int) -> float:
        """Units; below zero after a call that took more than there ever is at once."""
        return self.capacity - self.debt_at(now) / self.per_us

    def room_at(self, amount: float) -> int:
        """The first moment, maybe past, at which a call may take `amount`."""
        bearable = (self.capacity - min(amount, self.capacity)) * self.per_us
        if self.debt <= bearable:
            return self.at
        wait = ceil((self.debt - bearable) / self.capacity)
        while self.debt - wait * self.capacity > bearable:  # the division was rounded down
            wait += 1
        return self.at + wait

    def owe(self, amount: float, now: int) -> None:
        """Take units, or (an amount below zero) return them; a full bucket stays full."""
        self.debt = min(self.debt_at(now) + amount * self.per_us, self.capacity * MAX_DEBT_US)
        self.at = now

    def fall_to(self, level: float, now: int) -> None:
        """Hold no more than this many units."""
        self.debt = max(self.debt_at(now), (self.capacity - min(level, self.capacity)) * self.per_us)
        self.at = now

    def fitted(self, rate: Rate, now: int) -> Bucket:
        """As a demand knows the rate. A capacity that the provider told of holds until demands name another one."""
        if rate.capacity == self.asked and rate.per_us == self.per_us:
            return self
        kept = self.asked is None or rate.capacity == self.asked
        return self.resized(self.capacity if kept else float(rate.capacity), rate.per_us, rate.capacity, now)

    def resized(self, capacity: float, per_us: int, asked: float | None, now: int) -> Bucket:
        """With another capacity or period: what was taken stays taken, but leaves no more than an empty bucket."""
        debt = self.debt_at(now)
        if per_us != self.per_us:
            debt = debt / self.per_us * per_us
        return Bucket(at=now, per_us=per_us, capacity=capacity, asked=asked, debt=min(debt, capacity * per_us))
