"""The experiment that runs, as one router knows it: who is in which arm, what came of it, and its end.

One experiment runs at a time over a store. Deciding reads `running`, an attribute; the store is looked at in passing,
and what was counted in memory is written then. Results are counted as they are reported, and the verdict is taken anew
with each: one that is bad for the candidate ends the experiment at once.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

from crew_moe.catalog.policy import read_policy
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.errors import InvalidInput, StateError
from crew_moe.learning.experiment import Arm, Experiment, Mode, Tally, Verdict, standing, verdict_on
from crew_moe.learning.experiment.plan import Assignment
from crew_moe.learning.experiment.standing import Standing
from crew_moe.learning.observed import Observed
from crew_moe.learning.rewards import Facts, Rewards
from crew_moe.learning.trial_pages import Trial, TrialPages, ended
from crew_moe.ports import Clock, EventSink, PageStore
from crew_moe.state.forking import survives_fork
from crew_moe.strategies import STRATEGIES

Row = Mapping[str, Any]

WRITE_S: Final = 1.0
"""How long what was counted in memory may wait; longer where writing is slow, for decisions wait for it."""

SHARE_OF_TIME: Final = 0.02  # that is spent on it

MAX_WAITING: Final = 100_000
ENDING: Final = frozenset({Verdict.HARMED, Verdict.CONTROL_WINS})


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """The experiment that runs, and the candidate's policy."""

    experiment: Experiment
    policy: Policy


class Told(NamedTuple):
    """A trial as it stands."""

    trial: Trial
    tally: Tally
    standing: Standing


class _Seen(NamedTuple):
    """What is counted of a decision when it is made."""

    experiment: Experiment
    assignment: Assignment
    figures: Mapping[str, float]


class Trials:
    """`rewards` are those of the policy in force, for both arms alike. Safe for threads and forks."""

    def __init__(
        self,
        pages: Callable[[], PageStore],
        *,
        policy: Policy,
        rewards: Rewards,
        clock: Clock,
        sink: EventSink,
    ) -> None:
        self._open = pages
        self.policy = policy
        self._registry = Registry(experts=())
        self._rewards = rewards
        self._clock = clock
        self._sink = sink
        self.running: Running | None = None
        self._version = -1
        self._passed_over = ""
        self._due = 0.0
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: what the parent counted, the parent writes."""
        self._lock = threading.Lock()
        self._waiting: deque[_Seen] = deque(maxlen=MAX_WAITING)
        self._unwritten: dict[str, Tally] = {}

    def watch(self, registry: Registry) -> Callable[[], None]:
        """What to call every now and then; candidates may name these experts."""
        self._registry = registry
        return self.look

    def read(self, candidate: str) -> Policy:
        """The policy of a candidate's text. Raises ConfigError."""
        return read_policy(candidate, self._registry, STRATEGIES, cedar=self.policy.cedar)

    # ---- looking --------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """See whether another experiment runs, and write what was counted. Never raises StateError."""
        try:
            version = self._pages.store.version()
            if version != self._version:
                self._adopt(self._pages.running(self._clock.now()))
                self._version = version
            if self._clock.monotonic() >= self._due:
                self.write()
        except StateError as error:
            self._sink.emit("experiment_not_read", error=str(error))

    def _adopt(self, found: Trial | None) -> None:
        known = self.running
        if found is None or found.experiment.salt == self._passed_over:
            self.running = None
        elif known is None or known.experiment != found.experiment:
            self.running = self._prepared(found.experiment)

    def _prepared(self, experiment: Experiment) -> Running | None:
        """Ready to be tried; None where it is not for this router: another policy is in force here, or the candidate's
        experts are not all known.
        """
        if experiment.control_version != self.policy.version:
            why = f"the policy in force is {self.policy.version}, not {experiment.control_version}"
            self.pass_over(experiment, why)
            return None
        try:
            return Running(experiment, self.read(experiment.candidate))
        except InvalidInput as error:
            self.pass_over(experiment, str(error))
            return None

    def pass_over(self, experiment: Experiment, why: str) -> None:
        """This router takes no part in an experiment."""
        self.running, self._passed_over = None, experiment.salt
        self._sink.emit("experiment_passed_over", experiment=experiment.name, reason=why)

    # ---- deciding -------------------------------------------------------------------------------------------------

    def decided(self, running: Running, assignment: Assignment, figures: Mapping[str, float]) -> None:
        """Count what is known of a decision when it is made; it is written within about WRITE_S."""
        self._waiting.append(_Seen(running.experiment, assignment, figures))

    # ---- what came of it ------------------------------------------------------------------------------------------

    def served(self, row: Row, told: Row) -> None:
        """Take the row of an attempt or an outcome. Never raises: learning fails open."""
        self._observe(row, lambda seen: seen.served(told, row["task_type"]))

    def judged(self, row: Row, voice: str, facts: Facts, weight: float) -> None:
        """Take a feedback that counts as much as `weight`. Never raises: learning fails open."""
        self._observe(row, lambda seen: seen.judged(voice, facts, weight))

    def _observe(self, row: Row, change: Callable[[Observed], Observed]) -> None:
        part, running = row.get("experiment"), self.running
        if part is None or running is None or running.experiment.name != part["name"]:
            return
        experiment, now = running.experiment, self._clock.now()
        if experiment.mode is not Mode.AB:
            return
        try:
            seen = self._pages.observe(experiment.name, row, change, now)
            if seen is not None:
                self._count(experiment, self._difference(experiment, row, *seen))
        except StateError as error:
            self._sink.emit("experiment_not_counted", decision_id=row["decision_id"], error=str(error))

    def _difference(self, experiment: Experiment, row: Row, before: Observed, after: Observed) -> Tally:
        """What changes in the tally: the figures known now in the place of those known before."""
        part = row["experiment"]
        cohort = None if experiment.by is None else str((row.get("features") or {}).get(experiment.by, "unknown"))
        old, new = before.figures(self._rewards), after.figures(self._rewards)
        arm, unit = Arm(part["arm"]), int(part["unit"])
        gone = Tally.one(arm, old, unit=unit, cohort=cohort, times=-1.0)
        return Tally.one(arm, new, unit=unit, cohort=cohort).plus(gone)

    def _count(self, experiment: Experiment, more: Tally) -> None:
        """Write counts, and those that could not be written before; then the verdict."""
        with self._lock:
            more = self._unwritten.pop(experiment.name, Tally()).plus(more)
        try:
            total = self._pages.count(experiment.name, more, self._clock.now())
        except StateError:
            with self._lock:
                self._unwritten[experiment.name] = self._unwritten.get(experiment.name, Tally()).plus(more)
            raise
        self._judge(experiment, total)

    def _judge(self, experiment: Experiment, total: Tally) -> None:
        """Take the verdict; the one that stands first stands, but for harm."""
        verdict, because = verdict_on(experiment, total)
        if experiment.mode is not Mode.AB or verdict is Verdict.OPEN:
            return
        now = self._clock.now()

        def settle(trial: Trial) -> Trial:
            if not trial.running or trial.verdict is verdict:
                return trial
            if trial.verdict is Verdict.CANDIDATE_WINS and verdict is not Verdict.HARMED:
                return trial
            settled = replace(trial, verdict=verdict, because=because, decided_at=now)
            return ended(settled, now) if verdict in ENDING else settled

        trial, changed = self._pages.change(experiment.name, settle, now)
        known = self.running
        if not trial.running and known is not None and known.experiment == experiment:
            self.running = None
        if changed and trial.running:
            self._sink.emit("experiment_won", experiment=experiment.name, because=because)
        elif changed:
            self._sink.emit("experiment_stopped", experiment=experiment.name, verdict=verdict.value, because=because)
            self._pages.forget_decisions(experiment.name)

    def write(self) -> None:
        """Write what was counted in memory. Raises StateError."""
        began = self._clock.monotonic()
        try:
            self._write()
        finally:
            now = self._clock.monotonic()
            self._due = now + max(WRITE_S, (now - began) / SHARE_OF_TIME)

    def _write(self) -> None:
        sums: dict[str, tuple[Experiment, Tally]] = {}
        while self._waiting:
            try:
                experiment, (arm, unit), figures = self._waiting.popleft()
            except IndexError:  # another thread was faster
                break
            known = sums.get(experiment.name, (experiment, Tally()))[1]
            sums[experiment.name] = experiment, known.plus(Tally.one(arm, figures, unit=unit))
        for experiment, tally in sums.values():
            self._count(experiment, tally)

    # ---- beginning and end ----------------------------------------------------------------------------------------

    def start(self, experiment: Experiment) -> None:
        """Let an experiment run, for all routers over the store. Raises InvalidInput where one of that name was run,
        or another one runs; StateError.
        """
        other = self._pages.begin(experiment, self._clock.now())
        if other is not None:
            name = other.experiment.name
            if name == experiment.name:
                what = f"there is an experiment '{name}' already"
                raise InvalidInput(what, where="NAME", allowed=("a name that was not used before",))
            what = f"experiment '{name}' is running, and one runs at a time"
            raise InvalidInput(what, where="NAME", allowed=(f"crew-moe experiment stop {name}",))
        self._sink.emit("experiment_started", experiment=experiment.name, mode=experiment.mode.value)
        self.look()

    def stop(self, name: str, *, winner: str | None = None) -> Trial:
        """End an experiment: everybody is back to the policy in force. Raises InvalidInput for one that is unknown or
        has ended.
        """
        if not self.named(name).running:
            raise InvalidInput(f"experiment '{name}' has ended already", where="NAME")
        self.write()
        now = self._clock.now()
        trial, changed = self._pages.change(name, lambda one: ended(one, now, winner=winner), now)
        if changed:
            self._sink.emit("experiment_ended", experiment=name, verdict=trial.verdict.value, winner=winner)
            self._pages.forget_decisions(name)
        self.look()
        return trial

    def named(self, name: str) -> Trial:
        """Raises InvalidInput, with the closest match, for an unknown one."""
        found = self._pages.named(name, self._clock.now())
        if found is None:
            names = [trial.experiment.name for trial in self.all()]
            what = f"unknown experiment '{name}'" if names else f"unknown experiment '{name}': none was started"
            raise InvalidInput(what, where="NAME", value=name, allowed=names)
        return found

    def all(self) -> tuple[Trial, ...]:
        """By name."""
        return self._pages.all(self._clock.now())

    def told(self, name: str) -> Told:
        """How an experiment stands."""
        self.write()
        trial = self.named(name)
        tally = self._pages.tally(name, self._clock.now())
        return Told(trial, tally, standing(trial.experiment, tally))

    def policy_of(self, row: Row) -> Policy:
        """The policy that a logged decision was made under, where it is known: a candidate's, else that in force."""
        part = row.get("experiment")
        if part is None or row["policy_version"] == self.policy.version:
            return self.policy
        running = self.running
        if running is not None and running.policy.version == row["policy_version"]:
            return running.policy
        try:
            found = self._pages.named(part["name"], self._clock.now())
            return self.policy if found is None else self.read(found.experiment.candidate)
        except (StateError, InvalidInput):
            return self.policy

    def close(self) -> None:
        """Write what was counted; idempotent."""
        try:
            if self._waiting:
                self.write()
        except StateError as error:
            self._sink.emit("experiment_not_counted", error=str(error))

    @cached_property
    def _pages(self) -> TrialPages:
        return TrialPages(self._open())


def new_salt() -> str:
    """What deals keys to arms in one experiment, and in no other."""
    return os.urandom(16).hex()
