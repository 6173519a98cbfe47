"""A batch that somebody asks who was authenticated: each row as if it had been asked alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from crew_moe import Decision, Infeasible, Router
from crew_moe.domain.principal import Principal
from tests.router.ruled import asked, ruled

RULES: Final = """
access:
  - {name: no premium for interns, who: {roles: [intern]}, forbid: {tiers: [premium]}}
  - {name: the clinic stays with one, who: {tenants: [clinic]}, only: {providers: [cohere]}}
  - {name: risk is moderated, when: {risks: [high]}, only: {moderated: true}}
"""
INTERN: Final = Principal(subject="ina", tenant="acme", roles=frozenset({"intern"}))
NURSE: Final = Principal(subject="nora", tenant="clinic")
REQUESTS: Final = tuple(
    asked(tier=tier, risk=risk, tenant=tenant, text=f"What do the figures of {tenant} say?")
    for tier in ("premium", "fast")
    for risk in ("low", "high")
    for tenant in ("acme", "clinic", None)
)


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Router]:
    with ruled(tmp_path, RULES) as router:
        yield router


def served(decisions: Iterable[Decision | Infeasible]) -> list[str | None]:
    """The expert of each, None where nobody may serve."""
    return [decision.expert_id if isinstance(decision, Decision) else None for decision in decisions]


@pytest.mark.parametrize("who", [None, INTERN, NURSE])
def test_a_batch_decides_as_each_row_alone(who: Principal | None, on: Router) -> None:
    batch = on.decide_batch(REQUESTS, principal=who)
    assert batch.expert_ids == served(on.decide(request, principal=who) for request in REQUESTS)
    assert batch.expert_ids == served(batch)


def test_no_row_takes_the_tenant_of_its_request(on: Router) -> None:
    experts = on.decide_batch(REQUESTS, principal=NURSE).expert_ids
    named = {on.registry[expert].provider for expert in experts if expert is not None}
    assert named == {"cohere"}


def test_a_pin_of_the_principals_tenant_holds_for_every_row(on: Router) -> None:
    on.pin("gpt-4o", tenant="acme")
    plain = tuple(asked(tenant=tenant) for tenant in ("acme", "mallory", None))
    assert on.decide_batch(plain, principal=INTERN).expert_ids == ["gpt-4o"] * 3


def test_rejections_of_a_row_name_the_rule(on: Router) -> None:
    row = on.decide_batch(REQUESTS, principal=INTERN)[0]
    assert {one.rule for one in row.rejections if on.registry[one.expert_id].tier == "premium"} >= {"access"}


def test_an_empty_batch_has_no_rows(on: Router) -> None:
    assert len(on.decide_batch([], principal=INTERN)) == 0
