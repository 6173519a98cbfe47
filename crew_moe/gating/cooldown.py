"""Cooldowns and places: who shares one meter, and what a call takes of it.

discord.py's words: a bucket says whose calls are counted together. Its cooldowns start a fixed window with the first
call; ours refill evenly, so that no burst passes at a window's edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from crew_moe.domain.digest import digest
from crew_moe.domain.meter import Demand, Rate
from crew_moe.domain.word import Word
from crew_moe.gating.names import folded

MAX_VALUE_CHARS: Final = 200
RATE: Final = "calls"


class Bucket(Word):
    """Whose calls are counted together. A workspace is a guild in Discord's words."""

    USER = "user"
    CHANNEL = "channel"
    WORKSPACE = "workspace"
    TENANT = "tenant"
    GLOBAL = "global"


class Caller(Protocol):
    """Whose call it is; a GateContext is one."""

    @property
    def tenant(self) -> str | None: ...

    @property
    def user(self) -> str | None: ...

    @property
    def workspace(self) -> str | None: ...

    @property
    def channel(self) -> str | None: ...


_MEMBER: Final[Mapping[Bucket, Callable[[Caller], str | None]]] = {
    Bucket.USER: lambda caller: caller.user,
    Bucket.CHANNEL: lambda caller: caller.channel,
    Bucket.WORKSPACE: lambda caller: caller.workspace,
}


def value_of(bucket: Bucket, caller: Caller) -> str:
    """Who shares a meter with this caller: `tenant/member`. All whose name is unknown share one.

    Names that look the same count as the same, so that an invisible character buys nobody a meter of his own.
    """
    if bucket is Bucket.GLOBAL:
        return ""
    member = _MEMBER[bucket](caller) if bucket in _MEMBER else None
    value = f"{_part(caller.tenant)}/{_part(member)}"
    return value if len(value) <= MAX_VALUE_CHARS else digest(value).hex()


def pace(calls: float, per_s: float) -> Rate:
    """`calls` calls within `per_s` seconds. Raises InvalidInput for what no meter can count."""
    return Rate(name=RATE, capacity=calls, per_s=per_s)


def calls_of(name: str, bucket: Bucket, caller: Caller, *, rate: Rate) -> Demand:
    """One call at this rate, for all who share the bucket."""
    return Demand(key=f"cooldown:{name}:{bucket.value}:{value_of(bucket, caller)}", rates=(rate,))


def place_of(name: str, bucket: Bucket, caller: Caller, *, places: int) -> Demand:
    """One of `places` at once."""
    return Demand(key=f"concurrency:{name}:{bucket.value}:{value_of(bucket, caller)}", concurrent=places)


def _part(name: str | None) -> str:
    """A name that holds no separator."""
    return folded(name or "").replace("%", "%25").replace("/", "%2F")
