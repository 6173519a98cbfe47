"""The router's money: limits as people set them, costs as others report them, and a row for each change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from crew_moe import Outcome, Router
from crew_moe.domain.principal import Principal
from crew_moe.errors import InvalidInput
from crew_moe.sim import Simulation, simulate
from tests.router.given import decided
from tests.router.ruled import answered, asked, events, failed, ruled

ANN: Final = Principal(subject="ann", tenant="acme")
OURS: Final = {"tenant": "acme", "project": "web", "run_id": "r1"}


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Router]:
    with ruled(tmp_path) as router:
        yield router


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


def told(decision_id: str, cost_usd: str = "0.004", attempt: int = 1) -> Outcome:
    return Outcome(decision_id=decision_id, expert_id="gpt-4o", success=True, cost_usd=cost_usd, attempt=attempt)


def spent(on: Router, scope: str) -> Decimal:
    (status,) = on.budgets.status(scope)
    return status.settled_usd + status.reserved_usd + status.overrun_usd


def test_a_reported_cost_is_charged_once_per_attempt(on: Router) -> None:
    decision_id = decided(on, **OURS).decision_id
    for attempt in (1, 1, 2, 2):
        on.record(told(decision_id, attempt=attempt))
    for scope in ("tenant:acme", "project:acme/web", "run:acme/r1"):
        assert spent(on, scope) == Decimal("0.008")


def test_a_reported_cost_beyond_a_limit_is_overrun(tmp_path: Path) -> None:
    with ruled(tmp_path, "budgets: {limits: {'run:*': {usd: '0.003', window: run}}}") as on:
        on.record(told(decided(on, run_id="r1").decision_id))
        (status,) = on.budgets.status("run:r1")
    assert (status.settled_usd, status.overrun_usd, status.blocked) == (Decimal("0.003"), Decimal("0.001"), True)


def test_a_decision_for_nobody_charges_nobody(on: Router) -> None:
    on.record(told(decided(on).decision_id))
    assert on.budgets.status() == ()
    assert events(on, "cost_not_charged") == []


def test_a_reported_cost_is_the_principals_whatever_the_request_says(on: Router) -> None:
    decision = on.decide(asked(tenant="mallory", user="eve"), principal=ANN)
    on.record(told(decision.decision_id))
    assert {status.scope for status in on.budgets.status()} == {"tenant:acme", "user:acme/ann"}


def test_what_the_router_paid_itself_is_not_charged_again(tmp_path: Path, sim: Simulation) -> None:
    with ruled(tmp_path, base_url=sim.base_url) as on:
        done = answered(on, asked(**OURS))
        on.record(told(done.decision_id, cost_usd=str(done.cost_usd)))
        assert spent(on, "run:acme/r1") == done.cost_usd


@dataclass
class Pair:
    """Two routers over one store."""

    first: Router
    second: Router


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setenv("CREW_MOE_LOG_KEY", "a key that both of them have")
    state = f"sqlite:///{tmp_path}/state.db"
    with ruled(tmp_path, state=state) as first, ruled(tmp_path, state=state) as second:
        yield Pair(first, second)


def test_another_process_charges_once_with_this_one(pair: Pair) -> None:
    pair.first.budgets.set("tenant:acme", "5")
    decision_id = decided(pair.first, tenant="acme").decision_id
    pair.first.log.flush()
    for router in (pair.first, pair.second, pair.first, pair.second):
        router.record(told(decision_id))
    assert spent(pair.second, "tenant:acme") == Decimal("0.004")


def test_another_process_finds_those_who_pay_by_their_names(pair: Pair) -> None:
    for scope in ("tenant:acme", "run:acme/r1", "run:beta/r1", "run:r1", "task:acme/t1", "user:acme/ann"):
        pair.first.budgets.set(scope, "5")
    decision_id = decided(pair.first, tenant="acme", run_id="r1").decision_id
    pair.first.log.flush()
    pair.second.record(told(decision_id))
    assert {one.scope for one in pair.first.budgets.status() if one.settled_usd} == {"tenant:acme", "run:acme/r1"}


def test_a_cost_that_nobody_known_can_pay_is_told(pair: Pair) -> None:
    decision_id = decided(pair.first, tenant="acme").decision_id
    pair.first.log.flush()
    pair.second.record(told(decision_id))
    assert events(pair.second, "cost_not_charged") == [{"decision_id": decision_id, "cost_usd": "0.004"}]


def test_every_change_leaves_a_row_with_its_author(on: Router) -> None:
    on.budgets.set("tenant:acme", "5", window="month", by="ann", why="planned")
    on.budgets.top_up("tenant:acme", "2", by="bob", why="launch")
    on.budgets.reconcile("tenant:acme", by="cleo", why="looked")
    rows = on.budgets.changes()
    assert [(row["action"], row["by"], row["why"]) for row in rows] == [
        ("reconcile", "cleo", "looked"),
        ("top_up", "bob", "launch"),
        ("set", "ann", "planned"),
    ]
    assert (rows[1]["before"]["limit_usd"], rows[1]["after"]["limit_usd"]) == ("5", "7")
    assert [row["action"] for row in on.budgets.changes(1)] == ["reconcile"]


def test_a_limit_is_taken_away_again(on: Router) -> None:
    on.budgets.set("tenant:acme", "5")
    assert on.budgets.set("tenant:acme", None, by="ann").limit_usd is None
    assert len(on.budgets.changes()) == 2


def test_a_charge_of_which_nobody_knew_is_put_right(on: Router) -> None:
    reserved = on.guards.ledger.reserve(("tenant:acme",), usd="1", lease_s=10)
    assert reserved.ok
    on.clock.advance(11)  # type: ignore[attr-defined]  # a ManualClock
    (charge,) = on.budgets.open_charges("tenant:acme")
    on.budgets.correct(charge.id, "0.25", by="ann", why="the provider's invoice")
    assert spent(on, "tenant:acme") == Decimal("0.25")
    (row,) = on.budgets.changes()
    assert (row["action"], row["scope"], row["after"]["charged_usd"]) == ("correct", "tenant:acme", "0.25")


@pytest.mark.parametrize(("scope", "usd"), [("tenants:acme", "5"), ("tenant:acme", "-5"), ("tenant:acme", "nan")])
def test_a_change_that_makes_no_sense_leaves_no_row(scope: str, usd: str, on: Router) -> None:
    with pytest.raises(InvalidInput):
        on.budgets.set(scope, usd, by="ann")
    assert on.budgets.changes() == []
    assert on.budgets.status() == ()


@pytest.mark.parametrize("name", ["Müller & Söhne", "acme/eu", "100%", "x" * 150])
def test_a_limit_holds_for_a_name_with_any_signs(name: str, tmp_path: Path, sim: Simulation) -> None:
    by_policy = f"budgets: {{limits: {{'tenant:{name}': {{usd: 0}}}}}}"
    for policy in ("{}", by_policy):
        with ruled(tmp_path, policy, base_url=sim.base_url) as on:
            if policy != by_policy:
                on.budgets.set(f"tenant:{name}", "0")
            assert "has $0" in failed(on, asked(tenant=name, pin="gpt-4o")).attempts[0].detail


def test_a_limit_by_hand_for_all_of_a_kind_is_refused_for_it_would_hold_for_nobody(on: Router) -> None:
    with pytest.raises(InvalidInput, match=r"stands in policy\.yaml"):
        on.budgets.set("run:*", "0.5")


def test_a_lifted_block_lets_calls_pass_again(tmp_path: Path, sim: Simulation) -> None:
    with ruled(tmp_path, base_url=sim.base_url) as on:
        on.budgets.set("tenant:acme", "1")
        on.record(told(decided(on, tenant="acme").decision_id, cost_usd="1.5"))
        assert "blocked after an overrun" in failed(on, asked(tenant="acme", pin="gpt-4o")).attempts[0].detail
        on.budgets.top_up("tenant:acme", "2")
        on.budgets.reconcile("tenant:acme", by="ann")
        assert answered(on, asked(tenant="acme", pin="gpt-4o")).expert_id == "gpt-4o"


def test_no_row_tells_a_name_of_whom_was_asked_for(pair: Pair) -> None:
    decision_id = decided(pair.first, **OURS).decision_id
    row: Any = pair.first.log.get(decision_id)
    assert "acme" not in str(row)
    assert set(row["identity"]) == set(OURS)
