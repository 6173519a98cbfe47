"""How far one voice reaches: whoever rates without end moves an expert no further than a few ratings would.

Each rating of a source counts as a whole observation while the source has room, then as the rest of its room, then as
nothing. What it used of its room at an expert and a task type comes back by half every week:

    used(now) = sum of what each rating counted x 2 ** (-age / one week) <= cap

So of an average with step a, in which each rating counted s <= 1 (new = old + a x s x (rating - old)), one source moves
no more than 1 - (1 - a) ** cap of its range at once, whatever it says and however others speak in between: with the
policy's 5 and a = 0.1 that is 0.41. An arm takes a rating's part of an observation likewise, so one source adds at
most `cap` observations to it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

from crew_moe.domain.digest import digest
from crew_moe.domain.page import Page
from crew_moe.errors import StateError
from crew_moe.learning.turn import Turn, changed
from crew_moe.ports import PageStore

HALF_LIFE: Final = timedelta(weeks=1)
WHOLE: Final = 1.0
LITTLE: Final = 1e-3  # room that is not worth using
KEPT_S: Final = 12 * HALF_LIFE.total_seconds()  # after which what was used is less than a thousandth of it
FOLDER: Final = "learning/voice/"


class Used(NamedTuple):
    """What one source used of its room at one expert and task type, as it stood `at` that time (aware UTC)."""

    worth: float
    at: datetime

    def spoke(self, now: datetime, cap: float) -> tuple[float, Used]:
        """What a rating counts now, from 0 to 1, and what is used after it. Clocks differ: time never runs back."""
        now = max(now, self.at)
        used = self.worth * 2.0 ** -((now - self.at) / HALF_LIFE)
        counts = min(WHOLE, max(0.0, cap - used))
        return (counts, Used(used + counts, now)) if counts > LITTLE else (0.0, self)

    def to_bytes(self) -> bytes:
        return json.dumps([self.worth, self.at.isoformat()]).encode()

    @classmethod
    def from_page(cls, page: Page | None) -> Self:
        """Raises StateError for a page that holds something else."""
        if page is None:
            return cls(0.0, datetime.min.replace(tzinfo=UTC))
        try:
            worth, at = json.loads(page.content)
            return cls(float(worth), datetime.fromisoformat(at))
        except (ValueError, TypeError) as error:
            raise StateError("the page of what a source of feedback has used can't be read") from error


class Voices:
    """Lets every source of feedback have its say, and no more; kept in pages, so that all who share them agree."""

    def __init__(self, pages: PageStore, cap: float) -> None:
        self._pages = pages
        self._cap = cap

    def share(self, source: str, expert_id: str, task_type: str, now: datetime) -> float:
        """What this rating counts, from 0 to 1; its room is used by asking. Raises StateError."""
        name = page_name(source, expert_id, task_type)

        def spoken(page: Page | None) -> Turn[float]:
            used = Used.from_page(page)
            counts, after = used.spoke(now, self._cap)
            return Turn(None if after is used else after.to_bytes(), counts)

        return changed(self._pages, name, spoken, now, keep_s=KEPT_S)


def page_name(source: str, expert_id: str, task_type: str) -> str:
    """Where it stands; by a digest, for a source may have any name."""
    return f"{FOLDER}{digest(source).hex()}/{expert_id}/{task_type}"
