"""The live feed: what it tells, to whom, and the cursors by which a reader comes back to where it was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from crew_moe.domain.digest import digest
from crew_moe.domain.word import Word
from crew_moe.errors import InvalidRequest

EVERYONE: Final = ""
OPERATORS: Final = "-"  # no digest is written so
_CURSOR: Final = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


class FeedKind(Word):
    """What an event is about."""

    DECISION = "decision"
    BATCH = "batch"
    ATTEMPT = "attempt"
    OUTCOME = "outcome"
    FEEDBACK = "feedback"
    SWITCH = "switch"
    BREAKER = "breaker"
    BUDGET = "budget"
    GATE = "gate"
    STATE = "state"
    OTHER = "other"
    READY = "ready"
    HEARTBEAT = "heartbeat"
    GAP = "gap"


class Cursor(NamedTuple):
    """A place in the feed: events of one epoch are numbered without holes; a feed that begins anew has a later one."""

    epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}"

    @property
    def next(self) -> Cursor:
        return Cursor(self.epoch, self.number + 1)


def cursor_of(text: str) -> Cursor:
    """The cursor that `text` is. Raises InvalidRequest.

    >>> cursor_of("1700000000000-42").next
    Cursor(epoch=1700000000000, number=43)
    """
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise InvalidRequest("is no cursor of the feed", where="cursor", allowed=("the cursor of an event",))
    return Cursor(int(found[1]), int(found[2]))


Body = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


class FeedEvent(NamedTuple):
    """Something to tell. `owner` is EVERYONE, OPERATORS alone, or the digest of a tenant; `body` is JSON-ready, or
    makes what is: most events of a busy router are never read.
    """

    kind: FeedKind
    owner: str
    body: Body


class Delivery:
    """An event with its place. `frame` is its JSON, made when it is first read, for all who read it."""

    __slots__ = ("_body", "_frame", "cursor", "kind", "owner")

    def __init__(self, cursor: Cursor, kind: str, owner: str, body: Body | str) -> None:
        """`body` may be JSON already: an object with at least one member."""
        self.cursor = cursor
        self.kind = kind
        self.owner = owner
        self._body = body
        self._frame: str | None = None

    @property
    def frame(self) -> str:
        if self._frame is None:
            body = self._body if isinstance(self._body, str) else written(self._body)
            self._frame = f'{{"cursor": "{self.cursor}", "kind": "{self.kind}", {body[1:]}'
        return self._frame


class Ended(Word):
    """Why a subscription ended that its reader did not end."""

    SLOW = "slow"
    CLOSED = "closed"


def written(body: Body) -> str:
    """An event's body as JSON."""
    return json.dumps(body() if callable(body) else body)


def gap(after: Cursor, *, lost: int | None, at: str) -> Delivery:
    """What a reader is told whose next event is not there any more: how many are missing, None where nobody knows."""
    return Delivery(after, FeedKind.GAP, EVERYONE, {"at": at, "lost": lost})


def owner_of(tenant: str | None, key: bytes) -> str:
    """The owner of a tenant's events, as the decision log's rows name it; what has no tenant is for operators."""
    return OPERATORS if tenant is None else digest(tenant, key=key).hex()
