"""Preferences: how far an expert pleases one user more, or less, than it pleases everybody. Opt-in and erasable.

A user is a keyed digest, as in the decision log; no page holds a name. Means of rewards are kept for every user, and
one for all of them together; what n judgements of an expert tell of a user is shrunk towards everybody's opinion:

    deviation = n / (n + samples) x (the user's mean - everybody's mean)

Means forget: from MEMORY judgements on, each new one counts a MEMORY-th.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from crew_moe.domain.page import Page
from crew_moe.errors import StateError
from crew_moe.learning.turn import Turn, changed
from crew_moe.ports import PageStore

MEMORY: Final = 50.0
KEPT_S: Final = timedelta(days=90).total_seconds()
"""After its last judgement a user's page is forgotten by itself."""
EVERYBODY: Final = "learning/everybody"
FOLDER: Final = "learning/user/"


class User(NamedTuple):
    """Who is served, by the commitments of the decision log: digests with the log's key, never names."""

    user: str
    tenant: str = ""

    @property
    def page(self) -> str:
        return f"{FOLDER}{self.user}/{self.tenant}"


class Mean(NamedTuple):
    """A mean of rewards, and how many it is of."""

    judgements: float = 0.0
    value: float = 0.0

    def after(self, reward: float, weight: float) -> Mean:
        count = self.judgements + weight
        return Mean(count, self.value + weight / min(count, MEMORY) * (reward - self.value)) if weight > 0.0 else self


Means = Mapping[str, Mean]
"""By expert id."""


class Preferences:
    """Learns them, into pages that all processes share. Raises StateError."""

    def __init__(self, pages: PageStore) -> None:
        self._pages = pages

    def learn(self, user: User, expert_id: str, reward: float, weight: float, now: datetime) -> None:
        """A user's judgement, which counts as `weight` of one."""

        def with_it(page: Page | None) -> Turn[None]:
            means = means_in(page)
            return Turn(_written({**means, expert_id: means.get(expert_id, Mean()).after(reward, weight)}), None)

        if weight > 0.0:
            changed(self._pages, EVERYBODY, with_it, now)
            changed(self._pages, user.page, with_it, now, keep_s=KEPT_S)


def forget(pages: PageStore, user: str) -> int:
    """Erase what was learned of a user, of whatever tenant; how many pages there were."""
    return pages.erase(f"{FOLDER}{user}/")


def deviations(own: Means, everybody: Means, samples: float) -> dict[str, float]:
    """How far each expert that a user has judged pleases more (or less) than everybody, in rewards."""
    found = ((expert_id, mean, everybody.get(expert_id, mean)) for expert_id, mean in own.items())
    return {one: mean.judgements / (mean.judgements + samples) * (mean.value - all_.value) for one, mean, all_ in found}


def means_in(page: Page | None) -> dict[str, Mean]:
    """What a page holds. Raises StateError where that can't be read."""
    if page is None:
        return {}
    try:
        return {str(expert_id): Mean(*map(float, mean)) for expert_id, mean in json.loads(page.content).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise StateError("a page of preferences can't be read") from error


def _written(means: Means) -> bytes:
    return json.dumps(means, separators=(",", ":")).encode()
