"""Experiments on one router's policy: a candidate's boards beside its own, and who decides in which arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from crew_moe.boards import Boards, View
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import InvalidInput
from crew_moe.learning.experiment import Arm, Experiment, Mode, Wanted
from crew_moe.learning.experiment.plan import Assignment
from crew_moe.learning.learner import Learner
from crew_moe.learning.trials import Running, Trials, new_salt
from crew_moe.ports import Clock
from crew_moe.routing.board import Board

Foresee = Callable[[RoutingRequest, Features | None, Registry], Insight | None]
"""What learning knows of a request, whose features may have been taken already."""

Ask = Callable[..., Decision | Infeasible]


class _Candidate(NamedTuple):
    """What decides under the candidate's policy."""

    running: Running
    advising: View
    calling: View
    insight: Foresee


class Part(NamedTuple):
    """The part that one decision has in an experiment. `board` and `insight` are the candidate's."""

    trials: Trials
    running: Running
    assignment: Assignment
    request: RoutingRequest
    board: Board
    insight: Foresee

    @property
    def decides(self) -> bool:
        """Whether the candidate decides."""
        return self.running.experiment.mode is Mode.AB and self.assignment.arm is Arm.CANDIDATE

    def told(self, made: Decision | Infeasible, ask: Ask) -> dict[str, Any]:
        """What the decision's row says of it; it is counted now. `ask` asks the same question of another board."""
        experiment, (arm, unit) = self.running.experiment, self.assignment
        if experiment.mode is Mode.SHADOW:
            other = ask(self.board, insight=self.insight(self.request, made.features, self.board.registry))
            self.trials.decided(self.running, Assignment(Arm.CANDIDATE, unit), _compared(made, other))
            return {"name": experiment.name, "arm": Arm.CONTROL.value, "unit": unit, "shadow": _shadow_row(other)}
        self.trials.decided(self.running, self.assignment, {"infeasible": float(not made.ok)})
        return {"name": experiment.name, "arm": arm.value, "unit": unit}


class Experiments:
    """`calling` holds those that can be called now."""

    def __init__(self, learner: Learner, *, boards: Boards, calling: Boards | View, clock: Clock) -> None:
        self.trials = learner.trials
        self._learner = learner
        self._boards = boards
        self._calling = calling
        self._clock = clock
        self._candidate: _Candidate | None = None

    def part(self, running: Running, request: RoutingRequest, decision_id: str, *, for_call: bool) -> Part | None:
        """The part of a decision; None for one that the candidate could not make: it has no such profile."""
        if request.profile is not None and request.profile not in running.policy.profiles:
            return None
        candidate = self._candidate
        if candidate is None or candidate.running is not running:
            try:
                candidate = self._candidate = self._made(running)
            except InvalidInput as error:
                self.trials.pass_over(running.experiment, str(error))
                return None
        board = (candidate.calling if for_call else candidate.advising).current()
        assignment = running.experiment.assign(request, decision_id)
        return Part(self.trials, running, assignment, request, board, candidate.insight)

    def _made(self, running: Running) -> _Candidate:
        """Boards of the candidate, which know what the router's own do. Raises ConfigError for an unreadable model."""
        advising, calling = (
            self._boards.beside(
                replace(one.current(), policy=running.policy, lanes={}, alike={}, experiences={}, frames={})
            )
            for one in (self._boards, self._calling)
        )
        learner = self._learner.beside(running.policy, self._boards.current().registry)
        return _Candidate(running, advising, calling, learner.insight)

    def start(self, wanted: Wanted) -> Experiment:
        """Try a candidate from now on, on all routers over the store. Raises InvalidInput and StateError."""
        wanted.check()
        policy = self.trials.read(wanted.candidate)
        experiment = wanted.experiment(policy, self.trials.policy, salt=new_salt(), now=self._clock.now())
        self.trials.start(experiment)
        return experiment


def _compared(made: Decision | Infeasible, other: Decision | Infeasible) -> dict[str, float]:
    """The candidate's choice held against the one that was made."""
    same = isinstance(made, Decision) == isinstance(other, Decision)
    if not (isinstance(made, Decision) and isinstance(other, Decision)):
        return {"agreement": float(same), "infeasible": float(not other.ok)}
    return {
        "agreement": float(made.expert_id == other.expert_id),
        "infeasible": 0.0,
        "predicted_cost": float(other.estimated_cost_usd - made.estimated_cost_usd),
        "predicted_quality": _quality(other) - _quality(made),
    }


def _quality(decision: Decision) -> float:
    return next(one.quality for one in decision.candidates if one.expert_id == decision.expert_id)


def _shadow_row(other: Decision | Infeasible) -> dict[str, Any]:
    """What the candidate would have chosen."""
    if not isinstance(other, Decision):
        return {"expert_id": None, "binding": other.binding, "policy_version": other.policy_version}
    return {
        "expert_id": other.expert_id,
        "estimated_cost_usd": f"{other.estimated_cost_usd:f}",
        "quality": _quality(other),
        "policy_version": other.policy_version,
    }
