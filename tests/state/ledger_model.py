"""A ledger as slow and plain as can be: every sum is taken anew over all that ever happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crew_moe.domain.budget import Ceiling

KINDS = ["tenant", "project", "user", "channel", "run", "task"]
BucketName = tuple[str, str, str]  # scope, period, the moment's digits that tell its window
PREFIX = {"hour": 13, "day": 10, "month": 7, "total": 0}  # of an ISO moment


@dataclass
class Item:
    """A reservation or a charge, and where it counts."""

    scopes: Sequence[str]
    places: list[BucketName]
    held: int
    expires_at: datetime
    state: str = "held"
    spent: int = 0
    released_before: bool = False
    excess: dict[str, int] = field(default_factory=dict)  # of a charge, by scope


@dataclass
class Sums:
    """What one bucket carries."""

    settled: int = 0
    reserved: int = 0
    overrun: int = 0
    lapsed: int = 0


class Model:
    """What every ledger must do; amounts in nano-USD."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.own: dict[str, int | None] = {}
        self.window: dict[str, str] = {}
        self.ceilings: dict[str, Ceiling] = {}
        self.items: dict[str, Item] = {}
        self.forgiven: dict[BucketName, int] = {}

    def pass_time(self, now: datetime) -> None:
        self.now = max(self.now, now)
        for item in self.items.values():
            if item.state == "held" and item.expires_at <= self.now:
                item.state = "lapsed"

    def limit(self, scope: str) -> int | None:
        own = self.own.get(scope)
        ceiling = self.ceilings.get(scope)
        return ceiling.limit_nano if own is None and ceiling is not None else own

    def window_of(self, scope: str) -> str:
        ceiling = self.ceilings.get(scope)
        if self.own.get(scope) is None and ceiling is not None:
            return str(ceiling.window)
        return self.window.get(scope, "total")

    def place(self, scope: str) -> BucketName:
        """The bucket that is open for a scope now."""
        window = self.window_of(scope)
        period = "total" if window == "run" else window
        return scope, period, self.now.isoformat()[: PREFIX[period]]

    def sums(self, place: BucketName) -> Sums:
        sums = Sums()
        for item in self.items.values():
            if place in item.places:
                _count(sums, item, place[0])
        return sums

    def blocked(self, scope: str) -> bool:
        place = self.place(scope)
        return self.limit(scope) is not None and self.sums(place).overrun > self.forgiven.get(place, 0)

    def room(self, scope: str) -> int | None:
        limit, sums = self.limit(scope), self.sums(self.place(scope))
        return None if limit is None else max(0, limit - sums.settled - sums.reserved - sums.overrun)

    def refuses(self, scopes: Sequence[str], nano: int, ceilings: Mapping[str, Ceiling]) -> tuple[str, str, int] | None:
        """The scope that has no room, why, and its room; takes the ceilings in any case."""
        self.ceilings |= ceilings
        for scope in sorted(scopes, key=lambda scope: KINDS.index(scope.partition(":")[0])):
            room = self.room(scope)
            if nano and self.blocked(scope):
                return scope, "overrun", 0
            if nano and room is not None and nano > room:
                return scope, "limit", room
        return None

    def hold(self, identity: str, scopes: Sequence[str], nano: int, expires_at: datetime) -> None:
        self.items[identity] = Item(scopes, [self.place(scope) for scope in scopes], nano, expires_at)

    def end(self, identity: str, spent: int, state: str) -> None:
        item = self.items[identity]
        if item.state == "released" and spent:
            item.released_before = True
        elif item.state not in ("held", "lapsed"):
            return
        item.state, item.spent = state, spent

    def charge(self, identity: str, scopes: Sequence[str], nano: int, ceilings: Mapping[str, Ceiling]) -> None:
        if identity in self.items:
            return
        self.ceilings |= ceilings
        rooms = {scope: self.room(scope) for scope in scopes}
        excess = {scope: 0 if room is None else max(0, nano - room) for scope, room in rooms.items()}
        places = [self.place(scope) for scope in scopes]
        self.items[identity] = Item(scopes, places, 0, self.now, "charged", nano, excess=excess)

    def reconcile(self, scopes: Sequence[str]) -> list[str]:
        lifted = [scope for scope in scopes if self.blocked(scope)]
        for scope in lifted:
            self.forgiven[self.place(scope)] = self.sums(self.place(scope)).overrun
        return lifted

    def charged(self, identity: str) -> tuple[int, int]:
        """What an item is charged in all, and how much of it is overrun."""
        item = self.items[identity]
        if item.state == "charged":
            return item.spent, max(item.excess.values())
        if item.state == "lapsed":
            return item.held, 0
        return item.spent, item.spent if item.released_before else max(0, item.spent - item.held)


def _count(sums: Sums, item: Item, scope: str) -> None:
    if item.state == "held":
        sums.reserved += item.held
    elif item.state == "lapsed":
        sums.settled += item.held
        sums.lapsed += item.held
    elif item.state == "charged":
        sums.settled += item.spent - item.excess[scope]
        sums.overrun += item.excess[scope]
    elif item.released_before:
        sums.overrun += item.spent
    else:
        sums.settled += min(item.held, item.spent)
        sums.overrun += max(0, item.spent - item.held)
