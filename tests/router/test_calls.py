"""`complete`: who pays for a call, what stops it, and how it goes on for less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from crew_moe import Completion, Router
from crew_moe.domain.approval import Approval
from crew_moe.domain.principal import Principal
from crew_moe.domain.usage import Usage
from crew_moe.gating.approval import Operator
from crew_moe.sim import Simulation, simulate
from tests.router.given import decided
from tests.router.ruled import answered, asked, events, failed, ruled

ANN: Final = Principal(subject="ann", tenant="acme", channel="general")
HOLD: Final = "gate: {checks: [{needs_approval: premium}], on_hold_timeout: %s}"


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


@pytest.fixture
def on(sim: Simulation, tmp_path: Path) -> Iterator[Router]:
    with ruled(tmp_path, base_url=sim.base_url) as router:
        yield router


def scopes(on: Router) -> dict[str, Decimal]:
    """What each scope has spent and holds."""
    return {one.scope: one.settled_usd + one.reserved_usd for one in on.budgets.status()}


def test_a_call_is_charged_to_all_who_are_named(on: Router) -> None:
    done = answered(on, asked(tenant="acme", project="web", user="bob", channel="ops", run_id="r1"))
    names = {"tenant:acme", "project:acme/web", "user:acme/bob", "channel:acme/ops", "run:acme/r1"}
    assert scopes(on) == dict.fromkeys(names, done.cost_usd)
    assert done.cost_usd > 0


async def test_a_call_on_an_event_loop_is_charged_too(on: Router) -> None:
    done = await on.acomplete(asked(run_id="r1"))
    assert isinstance(done, Completion)
    assert scopes(on) == {"run:r1": done.cost_usd}


def test_the_principal_pays_whoever_the_request_names(on: Router) -> None:
    done = answered(on, asked(tenant="mallory", user="eve", channel="x", run_id="r1"), principal=ANN)
    names = {"tenant:acme", "user:acme/ann", "channel:acme/general", "run:acme/r1"}
    assert scopes(on) == dict.fromkeys(names, done.cost_usd)


def test_a_tenants_pins_hold_for_its_principals(on: Router) -> None:
    on.pin("command-r", tenant="acme")
    assert answered(on, asked(tenant="mallory"), principal=ANN).expert_id == "command-r"


def test_a_budget_is_the_ceiling_of_all_attempts_together(on: Router, sim: Simulation) -> None:
    for expert in ("gpt-4o", "claude-haiku-4-5"):
        sim.kill(expert)  # takes the request and resets the connection: nobody knows what it cost
    done = answered(
        on,
        asked(
            pin="gpt-4o",
            fallbacks=["claude-haiku-4-5", "gpt-4o-mini"],
            budget_usd="0.02",
            max_output_tokens=500,
        ),
    )
    assert done.expert_id == "gpt-4o-mini"
    (task,) = on.budgets.status()
    assert (task.scope.partition(":")[0], task.limit_usd) == ("task", Decimal("0.02"))
    assert task.settled_usd + task.reserved_usd <= Decimal("0.02")


def test_what_is_left_after_a_failure_pays_for_a_cheaper_expert(on: Router, sim: Simulation) -> None:
    request = asked(tier="premium", budget_usd="0.0305", max_output_tokens=2000)
    first = decided(on, **request.model_dump(exclude_unset=True)).expert_id
    sim.kill(first)
    done = answered(on, request)
    errors = [str(row.error) for row in done.attempts]
    assert (done.attempts[0].expert_id, errors[:2], errors[-1]) == (first, ["connection", "over_budget"], "None")
    (task,) = on.budgets.status()
    assert task.limit_usd == Decimal("0.0305")
    assert task.settled_usd + task.reserved_usd <= Decimal("0.0305")


def test_an_answer_is_cut_to_what_the_budget_pays_for(on: Router, sim: Simulation) -> None:
    answered(on, asked(pin="gpt-5", budget_usd="0.0095", max_output_tokens=4000))
    assert 64 <= sim.requests[0].body["max_completion_tokens"] < 500


def test_a_call_that_no_budget_pays_for_is_not_made(on: Router, sim: Simulation) -> None:
    on.budgets.set("tenant:acme", "0.0001")
    failure = failed(on, asked(tenant="acme", pin="gpt-5"))
    assert [row.error for row in failure.attempts] == ["over_budget"]
    assert failure.attempts[0].detail == "tenant:acme has $0.0001 left of $0.0001"
    assert sim.requests == []


def test_a_denied_overdraft_ends_the_call(sim: Simulation, tmp_path: Path) -> None:
    with ruled(tmp_path, "budgets: {on_exhausted: deny}", base_url=sim.base_url) as on:
        on.budgets.set("tenant:acme", "0.0001")
        failure = failed(on, asked(tenant="acme", pin="gpt-5", fallbacks=["gpt-4o-mini", "local/extractive"]))
    assert failure.reason == "a budget is used up, and the policy denies more"
    assert len(failure.attempts) == 1


def test_a_soft_limit_is_told_once(on: Router, sim: Simulation) -> None:
    on.budgets.set("tenant:acme", "0.01")
    for _ in range(3):
        sim.reply_with("gpt-5", "Done.", usage=Usage(input_tokens=100, output_tokens=130))
        answered(on, asked(tenant="acme", pin="gpt-5", max_output_tokens=300))
    assert [one["scope"] for one in events(on, "budget_soft_limit")] == ["tenant:acme"]


# ---- the gate -----------------------------------------------------------------------------------------------------


def held(sim: Simulation, folder: Path, timeout: str = "downgrade") -> Router:
    """A router that asks a person before it calls a premium expert."""
    return ruled(folder, HOLD % timeout, base_url=sim.base_url)


def test_a_held_call_goes_on_for_less_within_the_time_of_the_call(sim: Simulation, tmp_path: Path) -> None:
    with held(sim, tmp_path) as on:
        done = answered(on, asked(tier="premium", deadline_ms=8_000))
        assert on.registry[done.expert_id].tier == "baseline"
        assert done.attempts[0].error == "held"
        assert on.clock.monotonic() == pytest.approx(6.0)


def test_a_held_call_never_takes_longer_than_its_deadline(sim: Simulation, tmp_path: Path) -> None:
    policy = "gate: {checks: [{needs_approval: baseline}], on_hold_timeout: downgrade}"
    with ruled(tmp_path, policy, base_url=sim.base_url) as on:
        failed_or_fast = on.complete(asked(tier="premium", deadline_ms=8_000))
        assert isinstance(failed_or_fast, Completion)
        assert on.registry[failed_or_fast.expert_id].tier == "fast"
        assert on.clock.monotonic() <= 8.0


def test_a_held_call_that_may_not_be_downgraded_fails(sim: Simulation, tmp_path: Path) -> None:
    with held(sim, tmp_path, "fail") as on:
        assert failed(on, asked(tier="premium", deadline_ms=8_000)).reason == "nobody approved in time"
    assert sim.requests == []


@dataclass
class Officer:
    """Implements Approver: says the same to everybody."""

    on: Router
    approve: bool
    asked_about: list[str] = field(default_factory=list)

    def asked(self, approval: Approval) -> None:
        self.asked_about.append(approval.expert_id)
        self.on.guards.desk.answer(approval.id, approve=self.approve, by=Operator(name="officer"), why="because")


def test_an_approved_call_says_by_whom(sim: Simulation, tmp_path: Path) -> None:
    with held(sim, tmp_path) as on:
        on.guards.desk.attach(Officer(on, approve=True))
        done = answered(on, asked(tier="premium", user="ann"))
    assert done.attempts[0].detail == "approved by officer"


def test_a_denied_call_is_not_asked_about_the_next_expert(sim: Simulation, tmp_path: Path) -> None:
    with held(sim, tmp_path) as on:
        officer = Officer(on, approve=False)
        on.guards.desk.attach(officer)
        failure = failed(on, asked(tier="premium", fallbacks=["claude-sonnet-4", "o1"], pin="gpt-5"))
    assert officer.asked_about == ["gpt-5"]
    assert failure.reason == "a person said no"
    assert failure.attempts[0].detail == "approval: denied by officer: because"


# ---- room ---------------------------------------------------------------------------------------------------------

ONE_A_MINUTE: Final = "experts: {gpt-4o: {limits: {requests_per_minute: 1}}}"


def test_a_call_waits_its_turn_where_nobody_else_may_serve(sim: Simulation, tmp_path: Path) -> None:
    policy = "limits: {max_queue_ms: 90000}"
    with ruled(tmp_path, policy, experts=ONE_A_MINUTE, base_url=sim.base_url) as on:
        for _ in range(2):
            assert answered(on, asked(pin="gpt-4o")).expert_id == "gpt-4o"
        assert on.clock.monotonic() == pytest.approx(60.0, abs=0.1)


def test_an_expert_without_room_is_left_out_and_comes_back(sim: Simulation, tmp_path: Path) -> None:
    with ruled(tmp_path, experts=ONE_A_MINUTE, base_url=sim.base_url) as on:
        on.pin("gpt-4o", task="only")
        answered(on, asked(task="only"))
        on._boards.refresh(force=True)
        barred = next(one for one in decided(on).rejections if one.expert_id == "gpt-4o")
        assert barred.rule == "no_room"
        on.clock.advance(61)  # type: ignore[attr-defined]  # a ManualClock
        assert all(one.expert_id != "gpt-4o" for one in decided(on).rejections)
