"""Routers under a policy that a test writes, over simulated providers where it calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crew_moe import Completion, ExecutionFailed, Infeasible, Router, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.telemetry.events import Recorder
from tests.routing.given import NOW


def ruled(folder: Path, policy: str = "{}", *, experts: str = "", **options: Any) -> Router:
    """A router over policy.yaml (and experts.yaml) with these texts, whose clock only its own waiting moves."""
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    if experts:
        (folder / "experts.yaml").write_text(experts, encoding="utf-8")
    given: dict[str, Any] = {"state": ":memory:", "clock": ManualClock(NOW), "sink": Recorder(), **options}
    router = Router.from_config(folder, **given)
    if isinstance(router.clock, ManualClock):
        router.executor._sleep = router.clock.advance
    return router


def asked(**fields: Any) -> RoutingRequest:
    """A request for some analysis."""
    return RoutingRequest(**{"task_type": "analysis", "text": "What do the figures say?", **fields})


def answered(on: Router, request: RoutingRequest, **options: Any) -> Completion:
    found = on.complete(request, **options)
    assert isinstance(found, Completion), found
    return found


def failed(on: Router, request: RoutingRequest, **options: Any) -> ExecutionFailed:
    """The error with which nobody answered."""
    try:
        found = on.complete(request, **options)
    except ExecutionFailed as failure:
        return failure
    raise AssertionError(found)


def barred(on: Router, request: RoutingRequest, **options: Any) -> Infeasible:
    """The refusal of a request before anybody was called."""
    found = on.complete(request, **options)
    assert isinstance(found, Infeasible), found
    return found


def events(on: Router, name: str) -> list[dict[str, Any]]:
    """What was emitted under this name."""
    assert isinstance(on.sink, Recorder)
    return [fields for event, fields in on.sink.events if event == name]
