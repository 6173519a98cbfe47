"""Errands: who pays, under names that no two tenants share, within the tighter of two limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.budget import BudgetPolicy, BudgetRule, Ceiling, OnExhausted, ScopeKind, Window
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.scope import scope_of
from crew_moe.execution.errand import errand_of, payers_of, spoken_for
from crew_moe.state.ledger_input import scopes_of
from tests.routing.asking import requests

NOBODY = BudgetPolicy()
RUNS = BudgetPolicy(
    rules={
        "run:*": BudgetRule(
            scope="run:*", limit_nano=100, window=Window.RUN, on_exhausted=OnExhausted.DOWNGRADE, warn_at=0.8
        )
    }
)


def test_scopes_come_widest_first_with_their_tenant_in_front() -> None:
    request = RoutingRequest(tenant="acme", project="web", user="ann", channel="ops", run_id="r1")
    errand = errand_of(payers_of(request, None), NOBODY)

    assert errand.scopes == ("tenant:acme", "project:acme/web", "user:acme/ann", "channel:acme/ops", "run:acme/r1")


def test_a_principal_takes_the_place_of_what_the_request_says() -> None:
    request = RoutingRequest(tenant="acme", user="boss", channel="board")
    who = Principal(subject="ann", tenant="globex", channel="ops")

    assert errand_of(payers_of(request, who), NOBODY).scopes == (
        "tenant:globex",
        "user:globex/ann",
        "channel:globex/ops",
    )


def test_a_task_without_a_limit_has_no_sum_of_its_own() -> None:
    payers = {ScopeKind.RUN: "r1", ScopeKind.TASK: "t1"}

    assert errand_of(payers, NOBODY).scopes == ("run:r1",)
    limited = errand_of(payers, NOBODY, limits={ScopeKind.TASK: Ceiling(limit_nano=5)})
    assert limited.scopes == ("run:r1", "task:t1")
    assert limited.ceilings == {"task:t1": Ceiling(limit_nano=5)}


@pytest.mark.parametrize(("own", "holds"), [(50, 50), (500, 100)])
def test_the_tighter_of_two_limits_holds(own: int, holds: int) -> None:
    errand = errand_of({ScopeKind.RUN: "r1"}, RUNS, limits={ScopeKind.RUN: Ceiling(limit_nano=own)})

    assert errand.ceilings == {"run:r1": Ceiling(limit_nano=holds)}


NAMES = st.text(min_size=1, max_size=300)


@given(one=st.tuples(NAMES, NAMES), other=st.tuples(NAMES, NAMES))
def test_no_two_tenants_ever_share_a_scope(one: tuple[str, str], other: tuple[str, str]) -> None:
    scopes = {scope_of(ScopeKind.PROJECT, name, tenant) for tenant, name in (one, other)}

    assert len(scopes) == len({one, other})
    assert all(scopes_of((scope,)) for scope in scopes)  # the ledger takes every one


@given(fields=requests())
def test_a_request_spoken_for_is_a_copy_with_other_names(fields: RoutingRequest) -> None:
    who = Principal(subject="ann", tenant="globex")

    made = spoken_for(fields, who)

    assert made == fields.model_copy(update={"tenant": "globex", "user": "ann"})
    assert made.model_copy(update={"tenant": fields.tenant, "user": fields.user}) == fields
    assert RoutingRequest.model_validate_json(made.model_dump_json()) == made
