"""What the feed says of what a router does: to whom, and with no text of anybody's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from crew_moe import Feedback, Infeasible, Outcome, RoutingRequest
from crew_moe.domain.feed import EVERYONE, OPERATORS, FeedEvent, FeedKind, owner_of, written
from crew_moe.domain.happening import Noted
from crew_moe.state.memory.feed import MemoryFeed
from crew_moe.telemetry.reporter import NOTICES, Reporter
from tests.structure.source import PACKAGES, python_files
from tests.telemetry.happened import Witness, watched_router

KEY = b"k" * 16
NOW = datetime(2026, 1, 5, tzinfo=UTC)
SECRET = "the launch code is 0000"
ACME = owner_of("acme", KEY)


class Kept(MemoryFeed):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[FeedEvent] = []

    def publish(self, events: Sequence[FeedEvent]) -> None:
        self.events += events


class Told(NamedTuple):
    kind: FeedKind
    owner: str
    body: dict[str, Any]


def told(witness: Witness) -> list[Told]:
    feed = Kept()
    Reporter(feed, key=KEY).read(witness.seen)
    return [Told(event.kind, event.owner, json.loads(written(event.body))) for event in feed.events]


def asked(tenant: str | None = "acme", **more: object) -> RoutingRequest:
    return RoutingRequest.model_validate({"task_type": "planning", "text": SECRET, "tenant": tenant, **more})


def test_decision_has_the_names_of_the_seed() -> None:
    with watched_router() as (router, witness, _):
        decision = router.decide(asked())
    (event,) = told(witness)

    assert not isinstance(decision, Infeasible)
    assert (event.kind, event.owner) == (FeedKind.DECISION, ACME)
    assert event.body["selected_services"] == [decision.expert_id]
    assert event.body["routing_strategy"] == decision.strategy == "score"


def test_decision_that_nobody_may_serve_names_what_binds() -> None:
    with watched_router() as (router, witness, _):
        router.decide(asked(min_quality=1.0))
    (event,) = told(witness)

    assert (event.body["ok"], event.body["selected_services"], event.body["binding"]) == (False, [], "min_quality")


def test_group_is_named_whole() -> None:
    with watched_router() as (router, witness, _):
        decision = router.decide(asked(parallel={"experts": 2}))
    (event,) = told(witness)

    assert not isinstance(decision, Infeasible)
    assert decision.group is not None
    assert event.body["selected_services"] == list(decision.group.experts)


def test_batch_is_one_event_for_each_tenant() -> None:
    with watched_router() as (router, witness, _):
        router.decide_batch([asked("acme"), asked("globex"), asked(None), asked("acme", min_quality=1.0)])
    events = {event.owner: event.body for event in told(witness)}

    assert events.keys() == {ACME, owner_of("globex", KEY), OPERATORS}
    assert (events[ACME]["decisions"], events[ACME]["infeasible"]) == (2, 1)
    assert sum(events[ACME]["counts"].values()) == 1


def test_attempts_and_switches_belong_to_the_decisions_tenant() -> None:
    with watched_router() as (router, witness, sim):
        sim.kill("anthropic")
        router.complete(asked(task_type="code_generation"))
    events = told(witness)

    assert [event.kind for event in events] == ["decision", "attempt", "switch", "attempt"]
    assert {event.owner for event in events} == {ACME}


def test_reports_belong_to_the_tenant_by_the_rows_own_digest() -> None:
    with watched_router() as (router, witness, _):
        decision_id = router.decide(asked()).decision_id
        router.record(Outcome(decision_id=decision_id, expert_id="gpt-4o", success=True, cost_usd="0.01"))
        router.feedback(Feedback(decision_id=decision_id, source="someone", rating=5))
        reports, key = told(witness)[1:], router.log_key

    assert [(event.kind, event.owner) for event in reports] == [
        ("outcome", owner_of("acme", key)),
        ("feedback", owner_of("acme", key)),
    ]


def test_nothing_of_a_prompt_nor_of_who_asked_is_told() -> None:
    with watched_router() as (router, witness, sim):
        sim.kill("anthropic")
        router.complete(asked(user="bob", project="apollo", run_id="r-1", task="t-1"))
        router.decide_batch([asked(user="bob")])

    shown = "".join(written(event.body) for event in told(witness))
    assert all(name not in shown for name in ("launch", "bob", "apollo", "r-1", "acme"))


@pytest.mark.parametrize(
    ("event", "fields", "owner"),
    [
        ("budget_soft_limit", {"scope": "tenant:acme", "used": 0.8}, ACME),
        ("budget_soft_limit", {"scope": "project:acme/web", "used": 0.8}, ACME),
        ("budget_soft_limit", {"scope": "project:web", "used": 0.8}, OPERATORS),
        ("budget_overrun", {"scopes": ("tenant:acme", "user:acme/bob"), "overrun_usd": "1"}, ACME),
        ("circuit_open", {"key": "provider:openai", "until": NOW, "failures": 5}, EVERYONE),
        ("gate_verdict", {"decision_id": "d-of-another-process", "ruling": "deny"}, OPERATORS),
        ("state_lost", {"error": "no connection"}, OPERATORS),
        ("something_new", {"text": SECRET}, OPERATORS),
    ],
)
def test_event_of_the_log_goes_to_whom_it_concerns(event: str, fields: dict[str, object], owner: str) -> None:
    witness = Witness()
    witness.saw(Noted(event, fields, NOW))
    (shown,) = told(witness)

    assert shown.owner == owner
    assert shown.body["event"] == event
    assert "launch" not in written(shown.body)


def test_every_row_of_the_table_is_an_event_of_the_log() -> None:
    sources = [path.read_text(encoding="utf-8") for path in python_files(*PACKAGES) if path.name != "reporter.py"]

    assert [name for name in NOTICES if not any(f'"{name}"' in source for source in sources)] == []
