"""Access rules hold wherever the router names an expert."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from crew_moe import Decision, Infeasible, Router
from crew_moe.domain.principal import Principal
from crew_moe.sim import Simulation, simulate
from tests.router.ruled import answered, asked, barred, ruled

RULES: Final = """
access:
  - {name: premium is for leads, forbid: {tiers: [premium]}, unless: [{roles: [lead]}]}
  - {name: the clinic stays with one, who: {tenants: [clinic]}, only: {providers: [mistral]}}
"""
LEAD: Final = Principal(subject="ann", tenant="acme", roles=frozenset({"lead"}))
BOB: Final = Principal(subject="bob", tenant="acme")
NURSE: Final = Principal(subject="nora", tenant="clinic", roles=frozenset({"lead"}))
WANTED: Final = asked(min_quality=0.9)


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


@pytest.fixture
def on(tmp_path: Path, sim: Simulation) -> Iterator[Router]:
    with ruled(tmp_path, RULES, base_url=sim.base_url) as router:
        yield router


def tier_of(on: Router, expert_id: str) -> str:
    return on.registry[expert_id].tier.value


@pytest.mark.parametrize(("who", "premium"), [(LEAD, True), (BOB, False), (None, False)])
def test_a_decision_keeps_to_the_rules(who: Principal | None, premium: bool, on: Router) -> None:
    decision = on.decide(WANTED, principal=who)
    assert isinstance(decision, Decision)
    named = {tier_of(on, expert_id) for expert_id in (decision.expert_id, *decision.fallbacks)}
    assert ("premium" in named) is premium


def test_a_rejection_names_the_rule(on: Router) -> None:
    decision = on.decide(WANTED, principal=BOB)
    told = {one.expert_id: one.detail for one in decision.rejections if one.rule == "access"}
    assert "premium is for leads" in told["gpt-5"]


@pytest.mark.parametrize(("who", "tiers"), [(LEAD, {"premium"}), (BOB, set[str]())])
def test_standings_leave_out_who_is_forbidden(who: Principal, tiers: set[str], on: Router) -> None:
    found = {tier_of(on, standing.expert_id) for standing in on.experts(WANTED, principal=who)}
    assert found & {"premium"} == tiers


def test_a_call_keeps_to_the_rules_in_its_fallbacks_too(on: Router, sim: Simulation) -> None:
    sim.kill("openai")
    done = answered(on, asked(preferred_providers=["openai"]), principal=BOB)
    assert {tier_of(on, attempt.expert_id) for attempt in done.attempts} <= {"baseline", "fast"}


def test_a_pinned_expert_that_is_forbidden_is_not_called(on: Router, sim: Simulation) -> None:
    refused = barred(on, asked(pin="gpt-5"), principal=BOB)
    assert "premium is for leads" in refused.message
    assert sim.requests == []
    assert answered(on, asked(pin="gpt-5"), principal=LEAD).expert_id == "gpt-5"


def test_a_principal_without_a_tenant_is_bound_by_that_of_the_request(on: Router) -> None:
    somebody = Principal(subject="sam", roles=frozenset({"lead"}))
    request = asked(tenant="clinic")
    for found in (on.decide(request, principal=somebody), on.decide_batch([request], principal=somebody)[0]):
        assert isinstance(found, Decision)
        assert on.registry[found.expert_id].provider == "mistral"


def test_a_request_does_not_talk_itself_out_of_its_tenant(on: Router, sim: Simulation) -> None:
    done = answered(on, asked(tenant="acme"), principal=NURSE)
    assert on.registry[done.expert_id].provider == "mistral"
    assert {request.provider for request in sim.requests} == {"mistral"}


def test_without_a_principal_the_requests_own_word_counts(on: Router) -> None:
    decision = on.decide(asked(tenant="clinic"))
    assert isinstance(decision, Decision)
    assert on.registry[decision.expert_id].provider == "mistral"


def test_a_downgrade_does_not_open_what_a_rule_forbids(tmp_path: Path, sim: Simulation) -> None:
    policy = RULES + "gate: {above: fast, checks: [{has_any_role: {roles: [boss], otherwise: downgrade}}]}"
    with ruled(tmp_path, policy, base_url=sim.base_url) as on:
        done = answered(on, asked(tier="premium"), principal=LEAD)
        assert tier_of(on, done.expert_id) == "fast"
        assert isinstance(on.complete(asked(pin="gpt-5"), principal=BOB), Infeasible)
