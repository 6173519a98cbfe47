"""What was heard of many answers, in pages that all processes share: so many of the newest, and no more.

Answers lie in folders by a digest of their decision's id, each folder with room for a few. One that is pushed out by
newer decisions leaves the date of its decision behind: what is no newer and unknown may have counted before, and is not
heard again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from crew_moe.domain.digest import digest
from crew_moe.domain.page import Page
from crew_moe.errors import StateError
from crew_moe.learning.hearing import Hearing
from crew_moe.learning.turn import Turn, changed
from crew_moe.ports import PageStore
from crew_moe.state.performance import EXPIRY

FOLDERS: Final = 4096
ANSWERS: Final = 24  # of a folder; about 100,000 in all, as many as a store in memory counts once
PREFIX: Final = "learning/heard/"


class Heard(NamedTuple):
    """An answer before and after a part of it came."""

    before: Hearing
    after: Hearing


class Hearings:
    """Keeps hearings for 30 days, and about 100,000 at most."""

    def __init__(self, pages: PageStore) -> None:
        self._pages = pages

    def change(
        self,
        decision_id: str,
        expert_id: str,
        decided_at: datetime,
        change: Callable[[Hearing], Hearing],
        now: datetime,
    ) -> Heard | None:
        """Apply a pure change to one hearing, atomically; None for one that was forgotten. Raises StateError."""
        key, at = f"{decision_id}/{expert_id}", decided_at.isoformat()

        def hear(page: Page | None) -> Turn[Heard | None]:
            folder = _read(page)
            kept = folder.answers.get(key)
            if kept is None and at <= folder.forgotten:
                return Turn(None, None)
            before = Hearing() if kept is None else _hearing(kept[1])
            after = change(before)
            if after == before:
                return Turn(None, Heard(before, after))
            folder.answers[key] = [at, after.as_row()]
            return Turn(_written(folder), Heard(before, after))

        name = f"{PREFIX}{int.from_bytes(digest(decision_id)[:2], 'big') % FOLDERS:04x}"
        return changed(self._pages, name, hear, now, keep_s=EXPIRY.total_seconds())


class _Folder(NamedTuple):
    """Answers by their keys, each with the date of its decision; `forgotten` is the newest date that was pushed out."""

    forgotten: str
    answers: dict[str, list[Any]]


def _read(page: Page | None) -> _Folder:
    if page is None:
        return _Folder("", {})
    try:
        forgotten, answers = json.loads(page.content)
        return _Folder(str(forgotten), dict(answers))
    except (ValueError, TypeError) as error:
        raise StateError("a page of what was heard of answers can't be read") from error


def _hearing(row: Any) -> Hearing:
    try:
        return Hearing.of_row(row)
    except (ValueError, TypeError, LookupError) as error:
        raise StateError("a page of what was heard of answers can't be read") from error


def _written(folder: _Folder) -> bytes:
    forgotten, answers = folder
    while len(answers) > ANSWERS:
        oldest = min(answers, key=lambda key: answers[key][0])
        forgotten = max(forgotten, answers.pop(oldest)[0])
    return json.dumps([forgotten, answers], separators=(",", ":")).encode()
