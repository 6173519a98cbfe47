"""The meters that hosts share: one Redis database, in which each operation is one script.

The arithmetic of state.bucket and state.meter stands once more in lua/meter.lua: a limit that many calls hit at once is
kept where it lies, with no second try. Both give the same answers, which the contract suite and a state machine hold.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from crew_moe.domain.digest import digest
from crew_moe.domain.meter import Busy, Demand, MeterStatus, Passage, Told, check_key
from crew_moe.state.meter import demanded, from_us, kind_of, leased, to_us, used_units
from crew_moe.state.redis.connection import PREFIX, Connection, Script

ROOT: Final = PREFIX + "{meters}:"
MAX_PLAIN: Final = 100  # longer names are hashed
NOT_SAID: Final = -1


@cache
def _script(name: str) -> Script:
    folder = Path(__file__).parent / "lua"
    return Script("".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("meter", name)))


class RedisMeters:
    """Implements ports.Meters for all who open the same database.

    Raises StateError when the server can't be reached or refuses. What is full again is forgotten by itself.
    """

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)

    def take(self, demands: Sequence[Demand], now: datetime, *, lease_s: float = 600.0) -> Passage | Busy:
        wanted, passage_id = demanded(demands), os.urandom(12).hex()
        call = {"now": to_us(now), "lease": leased(lease_s), "id": passage_id, "demands": [*map(_row, wanted)]}
        found = self._run("meter_take", _json(call), *(word for demand in wanted for word in _words(demand.key)))
        if found is None:
            return Passage(id=passage_id)
        number, rate, until = found
        return Busy(key=wanted[number - 1].key, rate=rate, until=from_us(int(until)))

    def give_back(self, passage_id: str, now: datetime, *, used: Mapping[str, float] | None = None) -> None:
        self._run("meter_give_back", passage_id, to_us(now), _json(dict(used_units(used))))

    def tell(self, key: str, told: Sequence[Told], now: datetime) -> None:
        self._tell(key, now, told=told)

    def close_until(self, key: str, until: datetime, now: datetime) -> None:
        self._tell(key, now, until=to_us(until))

    def busy(self, now: datetime, *, kind: str) -> Mapping[str, datetime]:
        found = self._run("meter_busy", _name(kind), to_us(now))
        return {key: from_us(int(until)) for key, until in zip(found[::2], found[1::2], strict=True)}

    def status(self, key: str, now: datetime) -> MeterStatus:
        check_key(key)
        until, in_use, *rates = self._run("meter_status", _name(key), to_us(now))
        levels = {name: float(level) for name, level in zip(rates[::2], rates[1::2], strict=True)}
        return MeterStatus(
            key=key,
            levels=dict(sorted(levels.items())),
            in_use=in_use,
            until=from_us(int(until)) if int(until) else None,
        )

    def close(self) -> None:
        """Give the sockets back; idempotent."""
        self._connection.close()

    def _tell(self, key: str, now: datetime, *, told: Sequence[Told] = (), until: int = NOT_SAID) -> None:
        check_key(key)
        said = _json([_said(one) for one in told])
        self._run("meter_tell", *_words(key), to_us(now), said, until)

    def _run(self, name: str, *args: str | int) -> Any:
        return self._connection.run(_script(name), (ROOT,), args)


def _name(key: str) -> str:
    """What stands for a key in the names of Redis: the key, or its digest where it is long; never one for another."""
    return f"={key}" if len(key) <= MAX_PLAIN else f"#{digest(key).hex()}"


def _words(key: str) -> tuple[str, str, str]:
    """A meter's name, its key and its kind; beside the JSON, which can't hold every key."""
    return _name(key), key, _name(kind_of(key))


def _row(demand: Demand) -> dict[str, Any]:
    rates = [
        {"name": rate.name, "capacity": rate.capacity, "per_us": rate.per_us, "amount": rate.amount}
        for rate in demand.rates
    ]
    return {"limit": demand.concurrent or 0, "rates": rates}


def _said(told: Told) -> dict[str, Any]:
    return {
        "rate": told.rate,
        "per_us": told.per_us,
        "capacity": NOT_SAID if told.capacity is None else told.capacity,
        "remaining": NOT_SAID if told.remaining is None else told.remaining,
        "resets_at": NOT_SAID if told.resets_at is None else to_us(told.resets_at),
    }


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
