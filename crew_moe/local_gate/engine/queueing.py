"""Who goes next: the line before one hosted expert, without a clock, threads or a loop.

Calls of one kind and of like length are computed together, so that no more than half of a batch is padding. The most
urgent call leads: which one that is, `RULES` say in their order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import BatchSpec

AGEING_S: Final = 1.0
"""Whoever has waited this long counts as one tier higher, and from then on by its deadline."""
SHORT: Final = 64
"""Texts of fewer tokens count as equally long: what a batch of them costs is not their padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One call's place in the line: `number` grows with every call; times are of the clock's monotonic seconds."""

    number: int
    kind: str
    tier: Tier
    tokens: int
    since: float
    deadline: float

    @property
    def bucket(self) -> tuple[str, int]:
        """Calls of equal buckets may be computed together: the longest has at most twice the tokens of the shortest."""
        return self.kind, max(self.tokens, SHORT).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The calls that go next. `late` ones would have, but their deadline is over. `full`: no other call fits in."""

    places: tuple[Place, ...] = ()
    late: tuple[Place, ...] = ()
    full: bool = False


def _level(place: Place, now: float) -> float:
    """How far the tier is below premium, less one for each AGEING_S that was waited."""
    return max(0, Tier.PREMIUM.rank - place.tier.rank - int((now - place.since) / AGEING_S))


def _pressing(place: Place, now: float) -> float:
    """The deadline of whoever has waited for long; the others have time."""
    return place.deadline if now - place.since >= AGEING_S else float("inf")


def _turn(place: Place, now: float) -> float:  # noqa: ARG001 - one shape for all rules
    return place.number


RULES: Final[tuple[Callable[[Place, float], float], ...]] = (_level, _pressing, _turn)


def most_urgent(fronts: Iterable[Place], now: float) -> Place:
    """The first by the rules, of one or more."""
    return min(fronts, key=lambda place: tuple(rule(place, now) for rule in RULES))


Queue = OrderedDict[int, Place]
"""Calls of one bucket and tier by their number, as they came."""


def next_batch(queues: Mapping[tuple[tuple[str, int], Tier], Queue], now: float, spec: BatchSpec) -> Batch:
    """The most urgent call and those of its bucket that fit beside it; nothing is taken out of the queues.

    Within a tier and bucket nobody overtakes. A batch counts as long as its longest text for every member; a text that
    is over the budget alone goes alone.
    """
    fronts = [next(iter(queue.values())) for queue in queues.values() if queue]
    if not fronts:
        return Batch()
    bucket = most_urgent(fronts, now).bucket
    waiting = [iter(queue.values()) for (other, _), queue in queues.items() if other == bucket]
    heads = {number: place for number, line in enumerate(waiting) if (place := next(line, None)) is not None}
    places: list[Place] = []
    late: list[Place] = []
    longest = 0
    while heads:
        place = most_urgent(heads.values(), now)
        number = next(number for number, head in heads.items() if head is place)
        if place.deadline <= now:
            late.append(place)
        else:
            if places and _over(len(places) + 1, max(longest, place.tokens), spec):
                return Batch(places=tuple(places), late=tuple(late), full=True)
            places.append(place)
            longest = max(longest, place.tokens)
        if (following := next(waiting[number], None)) is None:
            del heads[number]
        else:
            heads[number] = following
    return Batch(places=tuple(places), late=tuple(late), full=_over(len(places) + 1, longest, spec))


def _over(members: int, longest: int, spec: BatchSpec) -> bool:
    return members > spec.max_size or members * longest > spec.max_tokens


class Line:
    """Everybody who waits for one hosted expert."""

    def __init__(self) -> None:
        self._queues: dict[tuple[tuple[str, int], Tier], Queue] = {}
        self._places: dict[int, Place] = {}
        self._calls = dict.fromkeys(Tier, 0)
        self._tokens = dict.fromkeys(Tier, 0)

    def __len__(self) -> int:
        return len(self._places)

    def put(self, place: Place) -> None:
        self._places[place.number] = place
        self._calls[place.tier] += 1
        self._tokens[place.tier] += place.tokens
        self._queues.setdefault((place.bucket, place.tier), OrderedDict())[place.number] = place

    def remove(self, number: int) -> bool:
        """Whether it was still there."""
        place = self._places.pop(number, None)
        if place is None:
            return False
        self._calls[place.tier] -= 1
        self._tokens[place.tier] -= place.tokens
        key = (place.bucket, place.tier)
        queue = self._queues[key]
        del queue[number]
        if not queue:
            del self._queues[key]
        return True

    def next(self, now: float, spec: BatchSpec) -> Batch:
        """The batch that would go now; `take` takes it."""
        return next_batch(self._queues, now, spec)

    def take(self, batch: Batch) -> None:
        for place in chain(batch.places, batch.late):
            self.remove(place.number)

    def before(self, tier: Tier) -> tuple[int, int]:
        """How many calls, and tokens, go before a new one of this tier (if nobody ages meanwhile)."""
        ahead = [other for other in Tier if other.rank >= tier.rank]
        return sum(self._calls[other] for other in ahead), sum(self._tokens[other] for other in ahead)
