"""Registered services as callers have them: each its own tenant's and those of everybody, an operator all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crew_moe import Decision, Outcome, Router
from crew_moe.auth.caller import LOCAL, AccessScope, Caller
from crew_moe.domain.host_rules import LOOPBACK
from crew_moe.domain.principal import Principal
from crew_moe.domain.service import Registration
from crew_moe.errors import HostNotAllowed, InvalidRequest, RefusedError, ServiceConflict, UnknownExpert, UnknownService
from crew_moe.services import Wanted
from crew_moe.surface.fault import fault_of
from crew_moe.surface.operations import Operations
from tests.router.ruled import ruled
from tests.service_host import Host, hosting

ADMIN = frozenset({AccessScope.ADMIN, AccessScope.READ})
ANN = Caller(principal=Principal(subject="ann", tenant="acme"), scopes=ADMIN)
BOB = Caller(principal=Principal(subject="bob", tenant="other"), scopes=ADMIN)
OPERATOR = Caller(principal=Principal(subject="root"), scopes=ADMIN)


@pytest.fixture
def host() -> Iterator[Host]:
    with hosting() as running:
        yield running


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Operations]:
    with ruled(tmp_path, service_hosts=LOOPBACK) as router:
        yield Operations(router)


def _entry(host: Host, service_id: str = "worker", **told: Any) -> Registration:
    return Registration(service_id=service_id, **{"service_type": "storage", "endpoint": host.url(), **told})


def _shown(on: Operations, caller: Caller) -> list[str]:
    return [row.service.service_id for row in on.services(caller)]


def _router(on: Operations) -> Router:
    return on.router


def test_what_a_tenants_admin_registers_is_the_tenants(on: Operations, host: Host) -> None:
    service = on.register_service(ANN, _entry(host))

    assert (service.tenant, service.registered_by) == ("acme", "ann")
    assert on.register_service(OPERATOR, _entry(host, "all")).tenant is None
    assert on.register_service(LOCAL, _entry(host, "lent", tenant="other")).tenant == "other"
    with pytest.raises(InvalidRequest, match="not your tenant"):
        on.register_service(ANN, _entry(host, "x", tenant="other"))


def test_lists_show_ones_own_and_those_of_all(on: Operations, host: Host) -> None:
    for caller, name in ((ANN, "anns"), (BOB, "bobs"), (OPERATOR, "shared")):
        on.register_service(caller, _entry(host, name))

    assert [_shown(on, caller) for caller in (ANN, BOB)] == [["anns", "shared"], ["bobs", "shared"]]
    assert _shown(on, OPERATOR) == _shown(on, LOCAL) == ["anns", "bobs", "shared"]


def test_the_list_of_experts_keeps_to_the_same(on: Operations, host: Host) -> None:
    for caller, name in ((ANN, "0-anns"), (BOB, "0-bobs"), (OPERATOR, "0-shared")):
        on.register_service(caller, _entry(host, name))

    def first(caller: Caller | None) -> list[str]:
        rows = on.experts(caller=caller, limit=3).rows
        return [row.expert_id for row in rows if row.expert_id.startswith("0-")]

    assert [first(ANN), first(BOB), first(None)] == [["0-anns", "0-shared"], ["0-bobs", "0-shared"], ["0-shared"]]
    assert first(OPERATOR) == ["0-anns", "0-bobs", "0-shared"]
    with pytest.raises(UnknownExpert) as unknown:
        on.health("0-anns", caller=BOB)
    assert "0-anns" not in unknown.value.allowed
    assert on.health("0-anns", caller=ANN)[0].expert_id == "0-anns"


def test_figures_keep_to_the_same(on: Operations, host: Host) -> None:
    on.register_service(ANN, _entry(host))
    on.proxy(ANN, "worker", 1)
    on.router.state.fail("expert:worker", on.router.clock.now(), eject_ms=60_000)
    on.router.state.fail("provider:openai", on.router.clock.now(), eject_ms=60_000)
    figures = {caller: on.stats(caller) for caller in (ANN, BOB, OPERATOR)}

    assert [list(figures[caller]["calls"]) for caller in (ANN, BOB, OPERATOR)] == [["worker"], [], ["worker"]]
    assert figures[BOB]["open_breakers"] == ["provider:openai"]
    assert figures[ANN]["open_breakers"] == ["expert:worker", "provider:openai"]
    assert "worker" not in str(figures[BOB])


def test_only_its_owner_takes_it_away(on: Operations, host: Host) -> None:
    on.register_service(ANN, _entry(host))
    on.register_service(OPERATOR, _entry(host, "shared"))

    with pytest.raises(UnknownService):
        on.unregister_service(BOB, "worker")
    with pytest.raises(ServiceConflict):
        on.unregister_service(BOB, "shared")
    assert on.unregister_service(ANN, "worker").service_id == "worker"
    assert on.unregister_service(OPERATOR, "shared").service_id == "shared"


def test_work_stays_with_services_of_the_caller(on: Operations, host: Host) -> None:
    on.register_service(ANN, _entry(host))
    decision = on.select_services(ANN, Wanted("storage"))

    assert isinstance(decision, Decision)
    assert on.select_services(BOB, Wanted("storage")) is None
    assert on.select_services(LOCAL, Wanted("storage")) is None
    assert on.explain(ANN, decision.decision_id).matches
    with pytest.raises(InvalidRequest, match="not your tenant"):
        on.select_services(BOB, Wanted("storage", tenant="acme"))


def test_nobody_speaks_ill_of_a_service_of_others(on: Operations, host: Host) -> None:
    on.register_service(ANN, _entry(host))
    on.register_service(BOB, _entry(host, "bobs"))
    mine, theirs = (on.select_services(caller, Wanted("storage")) for caller in (BOB, ANN))
    assert isinstance(mine, Decision)
    assert isinstance(theirs, Decision)

    with pytest.raises(UnknownExpert):
        on.record(BOB, Outcome(decision_id=mine.decision_id, expert_id="worker", success=False))
    assert on.record(ANN, Outcome(decision_id=theirs.decision_id, expert_id="worker", success=True))


async def test_work_is_passed_on_for_the_caller(on: Operations, host: Host) -> None:
    on.register_service(ANN, _entry(host))

    assert on.proxy(ANN, "worker", [1]).data["done"] == [1]
    done = await on.aproxy(OPERATOR, "worker", [2])
    assert _router(on).explain(done.decision_id).row["identity"].keys() == {"tenant", "user"}
    with pytest.raises(UnknownService):
        await on.aproxy(BOB, "worker", [3])


def test_rebalancing_keeps_to_the_callers_services(on: Operations, host: Host) -> None:
    on.register_service(ANN, _entry(host))
    on.register_service(BOB, _entry(host, "bobs"))

    assert [row.tenant for row in on.rebalance(ANN)] == ["acme"]
    assert [row.tenant for row in on.rebalance(OPERATOR, "storage")] == ["acme", "other"]
    assert on.rebalance(ANN)[0].as_dict()["before"] == {"worker": 1.0}


def test_refusals_have_codes_of_their_own(on: Operations, host: Host) -> None:
    on.register_service(ANN, _entry(host))
    on.router.state.fail("expert:worker", on.router.clock.now(), eject_ms=60_000)
    on.router.stats()
    tries: list[tuple[type[Exception], Any]] = [
        (UnknownService, lambda: on.unregister_service(OPERATOR, "nobody")),
        (ServiceConflict, lambda: on.register_service(OPERATOR, _entry(host))),
        (HostNotAllowed, lambda: on.register_service(OPERATOR, _entry(host, "x", endpoint="http://10.0.0.1"))),
        (RefusedError, lambda: on.proxy(ANN, "worker", 1)),
    ]
    told = []
    for kind, ask in tries:
        with pytest.raises(kind) as caught:
            ask()
        told.append(fault_of(caught.value).code)  # type: ignore[arg-type]  # each is one of ours

    assert told == ["unknown_service", "service_conflict", "host_not_allowed", "infeasible"]
