"""What is looked up when somebody asks for metrics: breakers, budgets, places, and the levels of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from crew_moe.domain.budget import ScopeStatus
from crew_moe.domain.snapshot import Breaker, Circuit
from crew_moe.errors import CrewMoEError

MAX_SCOPES: Final = 50
MAX_KEYS: Final = 500
STATES: Final[Mapping[Circuit, float]] = {Circuit.CLOSED: 0.0, Circuit.HALF_OPEN: 1.0, Circuit.OPEN: 2.0}


class Reading(NamedTuple):
    """One value of one metric; `labels` in the order of its table."""

    name: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where readings come from; each of the three may raise StateError, `levels` never.

    `experts` are the ids that may stand as labels, `usable` how many of them can be chosen; `evenness` is that of the
    load over registered services, None where there are none.
    """

    experts: frozenset[str] = frozenset()
    strategies: frozenset[str] = frozenset()
    usable: int = 0
    breakers: Callable[[], Mapping[str, Breaker]] = field(default=dict)
    scopes: Callable[[], Sequence[ScopeStatus]] = field(default=tuple)
    places: Callable[[], Mapping[str, int]] = field(default=dict)
    levels: Callable[[], Mapping[str, float]] = field(default=dict)
    evenness: Callable[[], float | None] = field(default=lambda: None)

    def readings(self) -> list[Reading]:
        """Everything that is looked up. A store that can't be asked is a reading of its own."""
        found: list[Reading] = []
        for store, look in (("state", self._breakers), ("ledger", self._scopes), ("meters", self._places)):
            lost = 0.0
            try:
                found += list(look())
            except CrewMoEError:
                lost = 1.0
            found.append(Reading("crew_moe_stores_lost", (store,), lost))
        return found

    def _breakers(self) -> Iterator[Reading]:
        for key, breaker in sorted(self.breakers().items())[:MAX_KEYS]:
            yield Reading("crew_moe_breaker_state", (key,), STATES[breaker.state])

    def _scopes(self) -> Iterator[Reading]:
        for status in fullest(self.scopes()):
            amounts = {
                "limit": status.limit_usd,
                "settled": status.settled_usd,
                "reserved": status.reserved_usd,
                "overrun": status.overrun_usd,
            }
            for name, amount in amounts.items():
                yield Reading(f"crew_moe_budget_{name}_usd", (status.scope,), float(amount or 0))

    def _places(self) -> Iterator[Reading]:
        for expert_id, count in sorted(self.places().items())[:MAX_KEYS]:
            yield Reading("crew_moe_places_in_use", (expert_id,), float(count))


def fullest(scopes: Iterable[ScopeStatus]) -> list[ScopeStatus]:
    """The limited scopes that have the least of their limit left, fullest first."""
    limited = (status for status in scopes if status.limit_usd is not None)
    return sorted(limited, key=_share_left)[:MAX_SCOPES]


def _share_left(status: ScopeStatus) -> float:
    return float((status.available_usd or 0) / status.limit_usd) if status.limit_usd else 0.0


def evenness(counts: Sequence[float], members: int) -> float:
    """Jain's fairness index of `counts` over `members`; those without a count have none. 1 where nothing was counted.

    >>> evenness([5, 5], 2), evenness([10], 4)
    (1.0, 0.25)
    """
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (max(members, len(counts)) * squares) if squares else 1.0
