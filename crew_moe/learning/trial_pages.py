"""Experiments in pages that all processes share: what runs, what was counted, and what was seen of which decision."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from crew_moe.domain.digest import digest
from crew_moe.domain.page import Page
from crew_moe.errors import StateError
from crew_moe.learning.experiment import Experiment, Tally, Verdict, experiment_of
from crew_moe.learning.observed import Observed
from crew_moe.learning.turn import Turn, changed
from crew_moe.ports import PageStore
from crew_moe.state.performance import EXPIRY

RUNNING: Final = "experiments/running"
PLAN: Final = "experiments/plan/"
TALLY: Final = "experiments/tally/"
SEEN: Final = "experiments/seen/"
PLACES: Final = 8_192
ROOM: Final = 8
"""So many decisions in each place may still change what they count for; newer ones push the oldest out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An experiment and what became of it. `winner` is what a person said when it was stopped."""

    experiment: Experiment
    verdict: Verdict = Verdict.OPEN
    because: str = ""
    decided_at: datetime | None = None
    ended_at: datetime | None = None
    winner: str | None = None

    @property
    def running(self) -> bool:
        return self.ended_at is None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; what `trial_of` reads."""
        return {
            "experiment": self.experiment.as_dict(),
            "verdict": self.verdict.value,
            "because": self.because,
            "decided_at": None if self.decided_at is None else self.decided_at.isoformat(),
            "ended_at": None if self.ended_at is None else self.ended_at.isoformat(),
            "winner": self.winner,
        }


def trial_of(content: bytes) -> Trial:
    """Raises StateError for what is no trial."""
    try:
        row = json.loads(content)
        return Trial(
            experiment=experiment_of(row["experiment"]),
            verdict=Verdict(row["verdict"]),
            because=row["because"],
            decided_at=_time(row["decided_at"]),
            ended_at=_time(row["ended_at"]),
            winner=row["winner"],
        )
    except (ValueError, TypeError, LookupError) as error:
        raise StateError("the state holds an experiment that can't be read") from error


def _kept(trial: Trial) -> bytes:
    return json.dumps(trial.as_dict()).encode()


class TrialPages:
    """Reads and changes them. Raises StateError."""

    def __init__(self, pages: PageStore) -> None:
        self.store = pages

    def named(self, name: str, now: datetime) -> Trial | None:
        page = self.store.read(PLAN + name, now)
        return None if page is None else trial_of(page.content)

    def all(self, now: datetime) -> tuple[Trial, ...]:
        """By name."""
        return tuple(trial_of(page.content) for page in self.store.pages(PLAN, now))

    def running(self, now: datetime) -> Trial | None:
        """The one that runs."""
        page = self.store.read(RUNNING, now)
        if page is None or not page.content:
            return None
        begun = trial_of(page.content)
        found = self.named(begun.experiment.name, now)
        if found is None:  # who begins it has come no further yet than to say so
            found = self._planned(begun, now)
        return found if found.running else None

    def begin(self, experiment: Experiment, now: datetime) -> Trial | None:
        """Let it run; None where it does, else the one that is in its way: of the same name, or running.

        The page of what runs holds all of it, so that whoever comes in between finishes what was begun.
        """
        same = self.named(experiment.name, now)
        if same is not None:
            return same
        page = self.store.read(RUNNING, now)
        other = self.running(now)
        if other is not None:
            return other
        trial = Trial(experiment=experiment)
        if not self.store.write(RUNNING, _kept(trial), now, over=0 if page is None else page.version):
            return self.begin(experiment, now)
        found = self._planned(trial, now)
        return None if found.experiment == experiment else found

    def _planned(self, trial: Trial, now: datetime) -> Trial:
        """The trial of that name, which is this one where there was none."""
        self.store.write(PLAN + trial.experiment.name, _kept(trial), now, over=0)
        return self.named(trial.experiment.name, now) or trial

    def change(self, name: str, change: Callable[[Trial], Trial], now: datetime) -> tuple[Trial, bool]:
        """Apply a pure change to a trial, atomically; it after that, and whether that made it another."""

        def turn(page: Page | None) -> Turn[tuple[Trial, bool]]:
            if page is None:
                raise StateError(f"the experiment '{name}' is gone")
            before = trial_of(page.content)
            after = change(before)
            content = None if after == before else _kept(after)
            return Turn(content, (after, after != before))

        return changed(self.store, PLAN + name, turn, now)

    def forget_decisions(self, name: str) -> None:
        """An experiment that has ended counts nothing any more."""
        self.store.erase(f"{SEEN}{name}/")

    def tally(self, name: str, now: datetime) -> Tally:
        page = self.store.read(TALLY + name, now)
        return Tally() if page is None else Tally.from_bytes(page.content)

    def count(self, name: str, more: Tally, now: datetime) -> Tally:
        """Add to the tally; all of it after that."""

        def turn(page: Page | None) -> Turn[Tally]:
            total = more if page is None else Tally.from_bytes(page.content).plus(more)
            return Turn(total.as_bytes(), total)

        return changed(self.store, TALLY + name, turn, now)

    def observe(
        self, name: str, decision: Mapping[str, Any], change: Callable[[Observed], Observed], now: datetime
    ) -> tuple[Observed, Observed] | None:
        """What was seen of a decision before a pure change and after it; None for one that newer decisions have pushed
        out: what it counted for stays, and nothing is counted twice.
        """
        key = (str(decision["created_at"]), str(decision["decision_id"]))

        def turn(page: Page | None) -> Turn[tuple[Observed, Observed] | None]:
            place = _Place("", {}) if page is None else _place(page.content)
            kept = place.decisions.get(key[1])
            if kept is None and key[0] <= place.forgotten:
                return Turn(None, None)
            before = Observed() if kept is None else _observed(kept[1])
            after = change(before)
            place.decisions[key[1]] = [key[0], after.as_row()]
            return Turn(_written(place), (before, after))

        number = int.from_bytes(digest(decision["decision_id"], size=4)) % PLACES
        return changed(self.store, f"{SEEN}{name}/{number:04x}", turn, now, keep_s=EXPIRY.total_seconds())


def ended(trial: Trial, now: datetime, *, winner: str | None = None) -> Trial:
    """The same, at an end; what had ended stays as it was."""
    return replace(trial, ended_at=now, winner=winner) if trial.running else trial


class _Place(NamedTuple):
    """Decisions by their ids, each with its date; `forgotten` is the newest date that was pushed out."""

    forgotten: str
    decisions: dict[str, list[Any]]


def _place(content: bytes) -> _Place:
    try:
        forgotten, decisions = json.loads(content)
        return _Place(str(forgotten), dict(decisions))
    except (ValueError, TypeError) as error:
        raise StateError("the state holds a decision of an experiment that can't be read") from error


def _written(place: _Place) -> bytes:
    forgotten, decisions = place
    while len(decisions) > ROOM:
        oldest = min(decisions, key=lambda one: decisions[one][0])
        forgotten = max(forgotten, decisions.pop(oldest)[0])
    return json.dumps([forgotten, decisions], separators=(",", ":")).encode()


def _observed(row: Any) -> Observed:
    try:
        return Observed.of_row(row)
    except (ValueError, TypeError, LookupError) as error:
        raise StateError("the state holds a decision of an experiment that can't be read") from error


def _time(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)
