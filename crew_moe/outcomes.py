"""What came of decisions: attempts, outcomes and feedback, into the performance record, the breakers and the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from crew_moe.domain.digest import digest
from crew_moe.domain.expert import Expert
from crew_moe.domain.happening import Attempted, Reported
from crew_moe.domain.outcome import Attempt, Feedback, Outcome, Sample
from crew_moe.domain.registry import Registry
from crew_moe.domain.scope import tenant_of
from crew_moe.domain.snapshot import Breaker
from crew_moe.errors import NotServed, StateError, UnknownDecision
from crew_moe.execution.circuits import Changes
from crew_moe.execution.trail import REACTIONS, Blame
from crew_moe.learning.learner import Learner
from crew_moe.ports import Clock, DecisionLog, EventSink, StateStore
from crew_moe.routing.batch_record import row_in_batch
from crew_moe.state.breaker import expert_key, provider_key
from crew_moe.telemetry.watching import NOBODY, Watchers

if TYPE_CHECKING:
    from crew_moe.execution.route import Route

MAX_ATTEMPTS_SHOWN: Final = 1000
ROW_MARK: Final = "."  # <batch id>.<row>


class Outcomes:
    """Each attempt counts once per (decision id, number), whoever reports it."""

    def __init__(
        self,
        *,
        registry: Callable[[], Registry],
        state: StateStore,
        log: DecisionLog,
        clock: Clock,
        sink: EventSink,
        charge: Callable[[Outcome, Mapping[str, Any]], bool],
        learner: Learner,
        lost: Callable[[], bool] = lambda: False,
        changes: Changes | None = None,
        watchers: Watchers = NOBODY,
    ) -> None:
        self._registry = registry
        self._state = state
        self._log = log
        self._clock = clock
        self._sink = sink
        self._charge = charge
        self._learner = learner
        self._trials = learner.trials
        self._lost = lost
        self._changes = changes or Changes(sink, None)
        self._watchers = watchers
        self._batch: Mapping[str, Any] = {}

    def attempted(self, route: Route, attempt: Attempt) -> None:
        """Take an attempt of our own executor, which tends the breakers itself. Never raises: learning fails open."""
        name = served_name(route.decision_id, attempt.number)
        self._log.append(name, partial(_attempt_row, route.decision_id, attempt))
        self._watchers.saw(Attempted(route.decision_id, route.task_type, tenant_of(route.errand.scopes), attempt))
        if self._lost():
            return
        if self._trials.running is not None:
            self._in_trial(route.decision_id, attempt)
        if not attempt.counts:
            return
        sample = Sample(
            expert_id=attempt.expert_id,
            task_type=route.task_type,
            success=attempt.ok,
            latency_ms=attempt.latency_ms if attempt.ok else None,
            cost_usd=float(attempt.cost_usd) if attempt.ok else None,
            input_tokens=attempt.usage.input_tokens if attempt.ok else None,
            output_tokens=attempt.usage.output_tokens if attempt.ok else None,
        )
        try:
            first = self._state.record(sample, self._clock.now(), once=name)
            if first and (self._learner.learns_arms or self._trials.running is not None):
                self._learner.saw(self.decision(route.decision_id), _attempt_row(route.decision_id, attempt))
        except (StateError, UnknownDecision) as error:
            self._sink.emit("outcome_not_recorded", decision_id=route.decision_id, error=str(error))

    def _in_trial(self, decision_id: str, attempt: Attempt) -> None:
        """An experiment counts every attempt: one that the gate denied tells of the policy, if not of its expert."""
        try:
            self._trials.served(self.decision(decision_id), _attempt_row(decision_id, attempt))
        except (StateError, UnknownDecision) as error:
            self._sink.emit("experiment_not_counted", decision_id=decision_id, error=str(error))

    def record(self, outcome: Outcome) -> bool:
        """Take an outcome that somebody else reports; it moves the record and the breakers, and its cost is charged to
        whom the decision was made for. False if known already.
        """
        row = self.decision(outcome.decision_id)
        expert = self._registry()[outcome.expert_id]
        name, now = served_name(outcome.decision_id, outcome.attempt), self._clock.now()
        self._book(outcome, row, name)  # known by its own name: money is booked once, whatever else fails
        sample = Sample(
            expert_id=expert.expert_id,
            task_type=row["task_type"],
            success=outcome.success if outcome.counts else None,
            latency_ms=outcome.latency_ms,
            cost_usd=None if outcome.cost_usd is None else float(outcome.cost_usd),
            input_tokens=outcome.input_tokens,
            output_tokens=outcome.output_tokens,
            quality=outcome.quality,
        )
        if not self._state.record(sample, now, once=name):
            return False
        signal: Callable[..., Breaker] = self._state.succeed if outcome.success else self._state.fail
        for key in _moved(outcome, expert):
            self._changes.saw(key, signal(key, now))
        told = {"kind": "outcome", **outcome.model_dump(mode="json")}
        self._log.append(name, lambda: told)
        if outcome.counts:
            self._learner.saw(row, told)
        self._trials.served(row, told)
        self._tell(outcome, row)
        return True

    def _book(self, outcome: Outcome, row: Mapping[str, Any], name: str) -> None:
        """Charge the cost, but for an attempt of our own executor, which has paid for it."""
        known = self._log.get(name) if outcome.cost_usd else None
        ours = known is not None and known["kind"] == "attempt"
        if not ours and not self._charge(outcome, row) and row.get("identity", True):
            self._sink.emit("cost_not_charged", decision_id=outcome.decision_id, cost_usd=str(outcome.cost_usd))

    def feedback(self, feedback: Feedback, *, voice: str | None = None) -> bool:
        """Take a judgement of the answer; it moves the record of who served as far as its `voice` may (None: its
        source). False if known already.

        Raises NotServed where nobody did: there is no answer to judge.
        """
        row = self.decision(feedback.decision_id)
        served = [entry for entry in self.served(feedback.decision_id) if entry["success"]]
        expert_id = served[-1]["expert_id"] if served else row.get("expert_id")
        if expert_id is None:
            raise NotServed(feedback.decision_id)
        name = f"{feedback.decision_id}/feedback/{feedback.source}"
        if self._log.get(name) is not None:
            return False  # before the voice uses any of its room
        call = served[-1] if served else None
        judgement = self._learner.judge(feedback, row, expert_id, call, voice or feedback.source)
        expert = self._registry().by_id.get(expert_id)
        sample = Sample(
            expert_id=expert_id,
            task_type=row["task_type"],
            success=None,
            quality=feedback.quality,
            reward=judgement.reward,
            weight=judgement.weight,
            quality_prior=None if expert is None else expert.quality,
            reward_prior=self._learner.prior,
        )
        if not self._state.record(sample, self._clock.now(), once=name):
            return False
        counted = {"reward": judgement.reward, "weight": judgement.weight}
        self._log.append(name, lambda: {"kind": "feedback", **feedback.model_dump(mode="json"), **counted})
        self._learner.heed(row, judgement)
        self._trials.judged(row, digest(judgement.voice, size=8).hex(), judgement.facts, judgement.weight)
        self._tell(feedback, row)
        return True

    def _tell(self, report: Outcome | Feedback, row: Mapping[str, Any]) -> None:
        commitment = (row.get("identity") or {}).get("tenant")
        self._watchers.saw(Reported(report, row["task_type"], commitment, self._clock.now()))

    def decision(self, decision_id: str) -> Mapping[str, Any]:
        """The row of a decision, alone or in a batch. Raises UnknownDecision."""
        row = self._log.get(decision_id)
        if row is None and ROW_MARK in decision_id:
            batch_id, _, number = decision_id.rpartition(ROW_MARK)
            row = row_in_batch(self._batch_row(batch_id), number)
        if row is None or row["kind"] != "decision":
            raise UnknownDecision(decision_id)
        return row

    def _batch_row(self, batch_id: str) -> Mapping[str, Any]:
        """The row of a whole batch, empty if unknown; the last one is kept, since outcomes of a batch come in a row."""
        batch = self._batch
        if batch.get("decision_id") != batch_id:
            batch = self._batch = self._log.get(batch_id) or {}
        return batch

    def served(self, decision_id: str) -> tuple[Mapping[str, Any], ...]:
        """Attempts and outcomes of a decision, in order."""
        rows = []
        for number in range(1, MAX_ATTEMPTS_SHOWN):
            row = self._log.get(served_name(decision_id, number))
            if row is None:
                break
            rows.append(row)
        return tuple(rows)


def served_name(decision_id: str, number: int) -> str:
    """The log's name for one attempt of a decision."""
    return f"{decision_id}/served/{number}"


def _moved(outcome: Outcome, expert: Expert) -> Iterator[str]:
    """The breakers that an outcome moves: both, unless a failure names an error that blames one or none of them, or
    the expert is one's own.
    """
    reaction = REACTIONS[outcome.error] if outcome.error is not None and not outcome.success else None
    if reaction is None or reaction.expert is not Blame.NONE:
        yield expert_key(expert.expert_id)
    if not expert.is_local and (reaction is None or reaction.provider is not Blame.NONE):
        yield provider_key(expert.provider)


def _attempt_row(decision_id: str, attempt: Attempt) -> dict[str, Any]:
    return {"kind": "attempt", "decision_id": decision_id, "success": attempt.ok, **attempt.as_dict()}
