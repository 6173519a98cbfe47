"""On whose behalf a crew's call is made: scopes, limits, and what the gate is told."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from crew_moe.crew.call import LLMCall, Sampling
from crew_moe.crew.config import RoutingBlock
from crew_moe.crew.current import one_run, run_now
from crew_moe.crew.order import Order
from crew_moe.crew.payer import Payer
from crew_moe.crew.runs import TaskRun
from crew_moe.crew.seat import Seat, SeatKind
from crew_moe.domain.budget import Ceiling
from crew_moe.domain.expert import Tier
from crew_moe.domain.principal import Principal
from crew_moe.execution.screened import Screened
from crew_moe.router import Router
from tests.router.given import router as made

ANN: Final = Principal(subject="ann", tenant="acme", roles=frozenset({"lead"}), workspace="guild", channel="general")
CALL: Final = LLMCall(messages=({"role": "user", "content": "Count"},))
RUN: Final = TaskRun(key="t1", number=1, name="audit", label="audit", started=0.0, opening="o1")


@pytest.fixture
def on() -> Any:
    with made() as router:
        yield router


def order(on: Router, *, held: frozenset[str] = frozenset(), run: TaskRun = RUN, **block: Any) -> Order:
    here = run_now()
    nobody: Any = None
    seat = Seat(
        seat_id="s", kind=SeatKind.AGENT, agent="Analyst", preference=None, sampling=Sampling(), dispatcher=nobody
    )
    return Order(
        seat=seat,
        run=run,
        call=CALL,
        block=RoutingBlock(**block),
        profile=None,
        screened=Screened(chat=CALL.chat(None), hold=held),
        run_id=run.key if here is None else here.name,
        clock=on.clock,
    )


def test_the_principals_names_take_the_place_of_the_blocks(on: Router) -> None:
    errand = Payer(router=on, principal=ANN).errand(order(on, tenant="mallory", project="web"))
    assert errand.scopes == ("tenant:acme", "project:acme/web", "user:acme/ann", "channel:acme/general", "run:acme/t1")
    assert errand.context is None


def test_without_a_principal_the_block_names_who_pays(on: Router) -> None:
    assert Payer(router=on).errand(order(on, tenant="acme")).scopes == ("tenant:acme", "run:acme/t1")


def test_budgets_of_the_run_and_the_task_are_limits_of_their_scopes(on: Router) -> None:
    errand = Payer(router=on, budget_nano=7).errand(order(on, budget_usd=Decimal("0.000000005")))
    assert errand.ceilings == {"run:t1": Ceiling(limit_nano=7), "task:t1": Ceiling(limit_nano=5)}


def test_a_crew_in_anothers_run_spends_from_both_budgets(on: Router) -> None:
    with one_run("outer", budget_nano=9), one_run(budget_nano=3) as name:
        errand = Payer(router=on, budget_nano=3).errand(order(on))
        inner = next(scope for scope in errand.scopes if scope != "run:outer")
    assert name == "outer"
    assert errand.ceilings == {"run:outer": Ceiling(limit_nano=9), inner: Ceiling(limit_nano=3)}
    assert run_now() is None


def test_the_gate_is_told_who_asks_as_authentication_says(on: Router) -> None:
    told = Payer(router=on, principal=ANN).errand(order(on, approval="premium", tenant="mallory", risk="high")).context
    assert told is not None
    assert (told.tenant, told.user, told.roles) == ("acme", "ann", frozenset({"lead"}))
    assert (told.workspace, told.channel) == ("guild", "general")
    assert (told.task, told.risk, told.run_id, told.approval) == ("audit", "high", "t1", Tier.PREMIUM)


def test_without_a_principal_nobody_has_a_role(on: Router) -> None:
    told = Payer(router=on).errand(order(on, approval="premium", tenant="acme")).context
    assert told is not None
    assert (told.tenant, told.user, told.roles) == ("acme", None, frozenset())


def test_the_gate_knows_a_task_by_its_opening(on: Router) -> None:
    payer = Payer(router=on)
    asked = [
        payer.errand(order(on, run=replace(RUN, opening=opening, key=key), approval="premium")).context
        for opening, key in (("o1", "t1"), ("o1", "t2"), ("o2", "t1"))
    ]
    first, again, other = (context.digest for context in asked if context is not None)
    assert first == again != other


def test_a_suspicious_text_is_asked_about_although_the_task_was_let_pass(on: Router) -> None:
    run = replace(RUN)
    run.grant("gpt-5", frozenset({"m1"}))
    payer = Payer(router=on)
    found = [
        payer.errand(order(on, run=run, held=held, approval="premium")).context
        for held in (frozenset[str](), frozenset({"m1"}), frozenset({"m1", "m2"}))
    ]
    assert [context.granted for context in found if context is not None] == [
        frozenset({"gpt-5"}),
        frozenset({"gpt-5"}),
        frozenset(),
    ]
