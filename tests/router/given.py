"""Routers over the packaged catalogue, with a clock that is moved by hand."""

from __future__ import annotations

from typing import Any

from crew_moe import Decision, Infeasible, Outcome, Router, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.telemetry.events import Recorder
from tests.routing.given import NOW


def router(clock: ManualClock | None = None, **options: Any) -> Router:
    return Router.from_config(state=":memory:", clock=clock or ManualClock(NOW), sink=Recorder(), **options)


def decided(on: Router, **fields: Any) -> Decision:
    """The decision for these fields; planning where no task type is given."""
    found = on.decide(RoutingRequest(**{"task_type": "planning", **fields}))
    assert isinstance(found, Decision), found
    return found


def refused(on: Router, **fields: Any) -> Infeasible:
    found = on.decide(RoutingRequest(**{"task_type": "planning", **fields}))
    assert isinstance(found, Infeasible), found
    return found


def report(on: Router, expert_id: str, *, success: bool, times: int = 1, **seen: Any) -> None:
    """Outcomes of as many decisions."""
    for _ in range(times):
        decision = decided(on)
        on.record(Outcome(decision_id=decision.decision_id, expert_id=expert_id, success=success, **seen))
