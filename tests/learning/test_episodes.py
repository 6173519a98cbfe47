"""Rows of the decision log become episodes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crew_moe import Completion, Decision, Router, RoutingRequest
from crew_moe.learning.episodes import Call, Episode, joined
from crew_moe.sim import simulate
from crew_moe.state import read_log

AT = "2026-03-01T12:00:00+00:00"


def decision(decision_id: str = "d1", **fields: Any) -> dict[str, Any]:
    """A row with what an episode needs."""
    row = {"kind": "decision", "decision_id": decision_id, "created_at": AT, "ok": True, "expert_id": "a"}
    return {**row, "roster": {"ids": ["a", "b"], "tiers": ["fast", "premium"]}, **fields}


def attempt(number: int, expert_id: str = "a", *, success: bool = True, **fields: Any) -> dict[str, Any]:
    row = {"kind": "attempt", "decision_id": "d1", "number": number, "expert_id": expert_id, "success": success}
    return {**row, **fields}


def feedback(**fields: Any) -> dict[str, Any]:
    return {"kind": "feedback", "decision_id": "d1", **fields}


def only(*rows: dict[str, Any]) -> Episode:
    (found,) = joined(rows).found
    return found


def test_decision_and_what_came_of_it_are_one_episode_in_whatever_order() -> None:
    found = only(
        feedback(quality=0.25),
        attempt(2, "b", cost_usd="0.02"),
        attempt(1, success=False, error="timeout", unsettled_usd="0.5"),
        decision(insight={"model": "m@1", "familiar": False, "quality": {"a": 0.9, "b": 0.8}}),
    )

    assert found.at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert found.tiers == {"a": "fast", "b": "premium"}
    assert found.calls == (
        Call(expert_id="a", ok=False, unsettled_usd=0.5),
        Call(expert_id="b", ok=True, cost_usd=0.02),
    )
    assert (found.expert_id, found.served_by, found.quality) == ("a", "b", 0.25)
    assert (found.model, found.familiar, found.predicted) == ("m@1", False, {"a": 0.9, "b": 0.8})


def test_who_was_chosen_served_where_nobody_told_of_a_call() -> None:
    assert only(decision()).served_by == "a"
    assert only(decision(), attempt(1, success=False, error="timeout")).served_by is None


@pytest.mark.parametrize("error", ["circuit_open", "no_room", "over_budget", "held", "denied"])
def test_expert_that_was_passed_over_was_not_called(error: str) -> None:
    found = only(decision(), attempt(1, success=False, error=error), attempt(2, "b"))

    assert [call.expert_id for call in found.calls] == ["b"]


@pytest.mark.parametrize(
    ("told", "quality"),
    [
        ({"quality": 0.0, "rating": 5}, 0.0),
        ({"rating": 4}, 0.75),
        ({"outcome": "partial"}, 0.5),
        ({"pr_merged": True}, None),
    ],
)
def test_quality_is_the_figure_else_the_rating_else_the_word(told: dict[str, Any], quality: float | None) -> None:
    assert only(decision(), feedback(**told)).quality == quality


def test_several_judgements_are_averaged() -> None:
    outcome = {"kind": "outcome", "decision_id": "d1", "attempt": 1, "expert_id": "a", "success": True, "quality": 1.0}

    assert only(decision(), outcome, feedback(quality=0.5), feedback(quality=0.0)).quality == 0.5


def test_refusal_names_what_bound() -> None:
    found = only(decision(ok=False, expert_id=None, binding="budget_usd", roster=None))

    assert (found.expert_id, found.binding, found.tiers) == (None, "budget_usd", {})


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "decision", "decision_id": "d1"},
        decision(created_at="yesterday"),
        decision(created_at=None),
        decision(insight={"quality": {"a": "much"}}),
        decision(roster=["a"]),
        {"kind": "attempt", "number": 1, "expert_id": "a", "success": True},
        {"kind": "attempt", "decision_id": "d2", "success": True},
        {"kind": "feedback", "decision_id": "d2", "quality": "good"},
        {"kind": "batch"},
    ],
)
def test_row_that_says_too_little_is_counted_and_left_out(row: dict[str, Any]) -> None:
    found = joined([row, decision("d2")])

    assert [episode.decision_id for episode in found.found] == ["d2"]
    assert found.unread == 1


def test_rows_of_an_earlier_kind_still_tell_what_they_know() -> None:
    plain = {"kind": "decision", "decision_id": "d1", "created_at": AT, "ok": True, "expert_id": "a"}

    assert only(plain, attempt(1)).served_by == "a"
    assert joined([plain]).unread == 0


def test_sharing_out_among_services_is_no_choice_of_an_expert() -> None:
    assert joined([decision(shares=[["s", 1.0]])]).found == ()
    assert joined([{"kind": "epoch", "decision_id": "x"}]).unread == 0


def test_rows_of_a_batch_are_episodes_of_their_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    requests = [RoutingRequest(task_type="planning", text=f"Plan {number}") for number in range(3)]
    with Router.from_config(state=url) as router:
        made = router.decide_batch([*requests, RoutingRequest(task_type="planning", text="x", min_quality=1.0)])
        names = [made[number].decision_id for number in range(4)]

    found = joined(read_log(url)).found

    assert [episode.decision_id for episode in found] == names
    assert [episode.expert_id is None for episode in found] == [False, False, False, True]
    assert all(episode.expert_id in episode.tiers for episode in found[:3])


def test_calls_that_a_router_made_by_itself_are_told() -> None:
    with simulate(speed=0) as sim, Router.from_config(state=":memory:", base_url=sim.base_url) as router:
        asked = RoutingRequest(task_type="planning", text="Plan")
        first = router.decide(asked)
        assert isinstance(first, Decision)
        sim.kill(router.registry[first.expert_id].provider)
        answer = router.complete(asked, messages=[{"role": "user", "content": "Plan"}])
        found = joined(reversed(router.log.tail(100))).found[-1]

    assert isinstance(answer, Completion)
    assert [(call.expert_id, call.ok) for call in found.calls] == [(first.expert_id, False), (answer.expert_id, True)]
    assert found.calls[-1].cost_usd == float(answer.cost_usd)
