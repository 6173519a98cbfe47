"""How often a caller may ask. A caller is a subject of a tenant; where nobody is authenticated, an address.

>>> RateLimit.parse("600/minute")
RateLimit(count=600, window_s=60)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, Self

from crew_moe.auth.caller import LOCAL, Caller
from crew_moe.clock import SystemClock
from crew_moe.errors import InvalidInput
from crew_moe.ports import Clock, EventSink
from crew_moe.surface.windows import Windows, WindowsInMemory, WindowsInRedis
from crew_moe.telemetry.events import LogSink

UNITS: Final[Mapping[str, int]] = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_WRITTEN: Final = re.compile(rf"([0-9]{{1,9}})/({'|'.join(UNITS)})")
SITE_BITS: Final = 64  # what one customer of a network gets of IPv6: the rest of an address is theirs to choose
REDIS: Final = ("redis://", "rediss://")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many in a window of so many seconds."""

    count: int
    window_s: int

    @classmethod
    def parse(cls, text: str, *, where: str = "rate limit") -> Self:
        """`600/minute`; the units are second, minute, hour and day. Raises InvalidInput."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None or int(found[1]) == 0:
            raise InvalidInput("is no rate", where=where, allowed=tuple(f"COUNT/{unit}" for unit in UNITS))
        return cls(int(found[1]), UNITS[found[2]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a caller stands in the present window of the limit called `name`."""

    name: str
    limit: RateLimit
    remaining: int
    reset_s: float

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit`, as the IETF's draft has them, and `Retry-After` for who is refused."""
        told = {
            "RateLimit-Policy": f'"{self.name}";q={self.limit.count};w={self.limit.window_s}',
            "RateLimit": f'"{self.name}";r={self.remaining};t={math.ceil(self.reset_s)}',
        }
        return told | {"Retry-After": str(self.retry_after_s)} if isinstance(self, Limited) else told


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed(Standing):
    """Go on. `counted` is False where nobody could count."""

    counted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited(Standing):
    """Not before `retry_after_s`, in whole seconds."""

    @property
    def retry_after_s(self) -> int:
        return max(1, math.ceil(self.reset_s))


class Rates:
    """Holds callers to one limit. For one event loop, and never in its way.

    Where the counts are kept by a Redis that does not answer, everybody is allowed: a router that can decide goes on
    deciding. `uncounted` says how often that was so in the present outage.
    """

    def __init__(self, limit: RateLimit, windows: Windows, *, name: str) -> None:
        self.limit = limit
        self.name = name
        self._windows = windows

    @classmethod
    def open(
        cls,
        limit: RateLimit,
        state: str = ":memory:",
        *,
        name: str = "requests",
        clock: Clock | None = None,
        sink: EventSink | None = None,
    ) -> Self:
        """Counts in Redis where the state is there, so that replicas share them; else in this process."""
        time = clock or SystemClock()
        if not state.startswith(REDIS):
            return cls(limit, WindowsInMemory(limit.window_s, clock=time), name=name)
        shared = WindowsInRedis(state, limit.window_s, name=name, clock=time, sink=sink or LogSink())
        return cls(limit, shared, name=name)

    async def hit(self, key: str) -> Allowed | Limited:
        """Count one more for this key (`caller_key`, `address_key`); what is refused is counted too."""
        found = await self._windows.count(key)
        if found is None:
            return Allowed(
                name=self.name,
                limit=self.limit,
                remaining=self.limit.count,
                reset_s=float(self.limit.window_s),
                counted=False,
            )
        count, reset_s = found
        if count > self.limit.count:
            return Limited(name=self.name, limit=self.limit, remaining=0, reset_s=reset_s)
        return Allowed(name=self.name, limit=self.limit, remaining=self.limit.count - count, reset_s=reset_s)

    async def aclose(self) -> None:
        """Give the connections back; idempotent."""
        await self._windows.aclose()


def caller_key(caller: Caller, address: str | None) -> str:
    """Whose count it is: the subject's within its tenant; the address's where nobody was authenticated."""
    if caller is LOCAL:
        return address_key(address)
    tenant = caller.tenant or ""
    return f"caller:{len(tenant)}:{tenant}:{caller.subject}"


def address_key(address: str | None) -> str:
    """A client's address; of IPv6 the part that its network gave it."""
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "address:unknown"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return f"address:{IPv6Address(int(found) >> SITE_BITS << SITE_BITS)}/{SITE_BITS}"
    return f"address:{found.ipv4_mapped if isinstance(found, IPv6Address) else found}"
