"""Providers' rate limits: an expert without room is passed over for now, and calls wait their turn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from crew_moe import Completion, Decision, Infeasible, Router, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.sim import Simulation, simulate
from crew_moe.telemetry.events import Recorder
from tests.routing.given import NOW

ASKED = RoutingRequest(task_type="planning", text="Plan the week", pin="gpt-4o")


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as simulation:
        yield simulation


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def router(tmp_path: Path, sim: Simulation, clock: ManualClock) -> Iterator[Router]:
    """gpt-4o takes one request a minute; sleeping moves the clock."""
    experts = "experts: {gpt-4o: {limits: {requests_per_minute: 1}}}\n"
    (tmp_path / "experts.yaml").write_text(experts, encoding="utf-8")
    with Router.from_config(tmp_path, state=":memory:", base_url=sim.base_url, clock=clock, sink=Recorder()) as made:
        made.executor._sleep = clock.advance
        yield made


def answered(router: Router) -> Completion:
    found = router.complete(ASKED)
    assert isinstance(found, Completion), found
    return found


def test_an_expert_without_room_is_passed_over_with_the_time_when_it_has_some(
    router: Router, clock: ManualClock
) -> None:
    answered(router)
    clock.advance(1.0)
    refused = router.decide(ASKED)

    assert isinstance(refused, Infeasible)
    assert refused.binding == "no_room"
    assert "until 12:01:00 UTC" in refused.message
    clock.advance(60.0)
    assert isinstance(router.decide(ASKED), Decision)


def test_others_are_chosen_while_an_expert_has_no_room(router: Router, clock: ManualClock) -> None:
    answered(router)
    clock.advance(1.0)
    chosen = router.decide(RoutingRequest(task_type="planning", text="Plan the week", requires=["vision"]))

    assert isinstance(chosen, Decision)
    assert ("gpt-4o", "no_room") in [(one.expert_id, one.rule) for one in chosen.rejections]


def test_calls_wait_their_turn_and_meet_no_limit(router: Router, sim: Simulation, clock: ManualClock) -> None:
    first, second = answered(router), answered(router)

    assert first.attempts[-1].ok
    assert second.attempts[-1].ok
    assert clock.now() - NOW >= timedelta(seconds=30)
    assert len(sim.requests) == 2


def test_stats_tell_who_has_no_room(router: Router) -> None:
    answered(router)

    assert list(router.stats()["without_room"]) == ["gpt-4o"]
