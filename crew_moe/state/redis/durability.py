"""What a Redis server must promise before money is trusted to it.

What it acknowledged must outlive a crash (append-only file, synced at least every second), and it must never throw
keys away to save memory. With `appendfsync everysec` a power cut may cost the last second or two of writes, as a
failover to a replica may; the ledger notices that by its sequence and closes. Where all who use the ledger can lose
power together with it, and so nobody would remember, only `appendfsync always` keeps the last second.
"""

from __future__ import annotations

from typing import Final

from crew_moe.errors import StateError
from crew_moe.state.redis.line import Ask

SYNCED: Final = ("always", "everysec")


def require_durable(ask: Ask) -> None:
    """Raises StateError, which says what to set, for a server that may lose money by its settings.

    Where CONFIG is forbidden, as by many who run Redis for others, how often it syncs is left to them.
    """
    if _told(ask("INFO", "persistence"), "aof_enabled") != "1":
        raise _wanting("it keeps no append-only file", "appendonly yes")
    if (policy := _told(ask("INFO", "memory"), "maxmemory_policy")) != "noeviction":
        raise _wanting(f"it throws keys away when memory is short ({policy})", "maxmemory-policy noeviction")
    if (synced := _appendfsync(ask)) is not None and synced not in SYNCED:
        raise _wanting(f"it leaves to the system when data reach the disk (appendfsync {synced})", "appendfsync always")


def _told(info: str, name: str) -> str | None:
    """One value of what INFO answers."""
    found = [line.partition(":")[2] for line in info.splitlines() if line.startswith(f"{name}:")]
    return found[0] if found else None


def _appendfsync(ask: Ask) -> str | None:
    from redis.exceptions import ResponseError

    try:
        found = ask("CONFIG", "GET", "appendfsync")
    except ResponseError:
        return None
    return str(found[1]) if found else None


def _wanting(what: str, setting: str) -> StateError:
    return StateError(f"this Redis can't keep budgets: {what}; set '{setting}'")
