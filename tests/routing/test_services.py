"""Registered services beside the catalogue: in the registry, in eligibility, and in nobody else's sight."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from crew_moe.domain.decision import Infeasible
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.service import Service
from crew_moe.domain.snapshot import Snapshot
from crew_moe.errors import UnknownExpert
from crew_moe.routing.batch import decide_batch
from crew_moe.routing.board import Board
from crew_moe.routing.reports import health_of
from tests.routing.given import NOW, REGISTRY, answer, board, decided
from tests.state.given import service_named

CHAT = service_named("chatty", protocol="openai", quality=1.0, capabilities=["tools"], latency_ms=1.0)
JSON = service_named("worker")
BOUND = replace(CHAT, service_id="theirs", tenant="acme")


def _on(*services: Service) -> Board:
    return board(services=services)


def _renewed(known: Board, *services: Service) -> Board:
    return known.renewed(Snapshot(taken_at=NOW, services=services))


def test_services_join_the_registry_and_its_digest() -> None:
    joined = _on(CHAT).registry

    assert joined["chatty"].base_url == CHAT.endpoint
    assert len(joined) == len(REGISTRY) + 1
    assert joined.digest != REGISTRY.digest
    assert _on(BOUND).registry.digest != _on(replace(BOUND, tenant="other")).registry.digest


def test_registry_without_services_is_the_catalogue_itself() -> None:
    assert _on().registry is REGISTRY
    assert _renewed(_on(CHAT)).registry.digest == REGISTRY.digest


def test_a_weight_changes_no_registry() -> None:
    known = _on(CHAT)
    after = _renewed(known, replace(CHAT, weight=0.2))

    assert after.registry is known.registry
    assert after.columns is known.columns
    assert after.services[0].weight == 0.2


def test_the_catalogue_keeps_its_ids() -> None:
    shadowed = replace(CHAT, service_id="gpt-4o")

    assert _on(shadowed).registry is REGISTRY
    assert _on(shadowed).services == ()


def test_who_left_is_found_by_calls_under_way_alone() -> None:
    after = _renewed(_on(CHAT, JSON), JSON)

    assert after.registry["chatty"].expert_id == "chatty"
    assert "chatty" not in after.registry
    assert "chatty" not in {expert.expert_id for expert in after.registry}
    with pytest.raises(UnknownExpert):
        answer(after, pin="chatty")


def test_who_joins_is_laid_out_for_deciding() -> None:
    after = _renewed(board(), CHAT)

    assert decided(after, min_quality=0.99).expert_id == "chatty"
    assert decided(after).registry_digest == after.registry.digest != REGISTRY.digest


def test_another_board_of_the_catalogue_follows() -> None:
    known, other = _on(CHAT), board(live=True)
    following = other.following(known)

    assert following.registry is known.registry
    assert following.columns is known.columns
    assert (following.live, following.snapshot) == (True, known.snapshot)
    assert following.frames is not other.frames


def test_a_chat_service_is_weighed_with_the_catalogue() -> None:
    assert decided(_on(CHAT), min_quality=0.99).expert_id == "chatty"


def test_a_json_service_takes_no_chats_even_where_it_is_named() -> None:
    refused = answer(_on(JSON), pin="worker")

    assert isinstance(refused, Infeasible)
    assert (refused.binding, refused.nearest and refused.nearest.expert_id) == ("protocol", "worker")
    assert "worker" not in decided(_on(JSON), fallbacks=("worker", "gpt-4o")).fallbacks


def test_a_bound_service_serves_its_tenant_alone() -> None:
    on = _on(BOUND)

    assert decided(on, min_quality=0.99, tenant="acme").expert_id == "theirs"
    for tenant in (None, "other"):
        assert isinstance(answer(on, min_quality=0.99, tenant=tenant), Infeasible)


@pytest.mark.parametrize("tenant", [None, "other"])
def test_nobody_else_hears_of_it(tenant: str | None) -> None:
    on = _on(BOUND)
    refused = answer(on, min_quality=0.99, tenant=tenant)
    served = decided(on, tenant=tenant)

    assert isinstance(refused, Infeasible)
    assert refused.nearest is not None
    assert refused.nearest.expert_id != "theirs"
    assert "theirs" not in {one.expert_id for one in (*refused.rejections, *served.rejections)}
    assert "theirs" not in {one.expert_id for one in served.candidates}
    counts = Counter(one.rule for one in served.rejections)
    assert served.rationale.endswith("not eligible: " + ", ".join(f"{rule} {n}" for rule, n in counts.most_common()))
    for named in ({"pin": "theirs"}, {"fallbacks": ("theirs",)}, {"pin": "theirz"}):
        with pytest.raises(UnknownExpert) as unknown:
            answer(on, tenant=tenant, **named)
        assert "theirs" not in unknown.value.allowed


def test_names_are_those_that_a_tenant_may_hear() -> None:
    registry = _on(BOUND, CHAT).registry

    assert "theirs" not in registry.names
    assert "chatty" in registry.names
    assert "theirs" in registry.seen_by("acme")
    assert "theirs" not in registry.seen_by("other")


def test_each_is_shown_a_registry_of_its_own() -> None:
    registry = _on(BOUND, CHAT, JSON).registry

    assert registry.shown_to("acme") is registry
    assert registry.shown_to("other") is registry.shown_to(None)
    assert "theirs" not in registry.shown_to("other")
    assert registry.shown_to("other").services == (CHAT, JSON)
    assert REGISTRY.shown_to("other") is REGISTRY


def test_models_are_those_that_take_chats() -> None:
    registry = _on(CHAT, JSON).registry

    assert [name for name in ("chatty", "worker", "gpt-4o", "nobody") if registry.takes_chats(name)] == [
        "chatty",
        "gpt-4o",
    ]


def test_a_batch_decides_as_one_by_one() -> None:
    on = _on(BOUND, CHAT, JSON)
    requests = [
        RoutingRequest(task_type="planning", min_quality=0.99, tenant=tenant) for tenant in ("acme", "other", None) * 3
    ]
    batch = decide_batch(requests, on, batch_id="b", now=NOW, new_seed=lambda: 7)
    alone = [decided(on, min_quality=0.99, tenant=one.tenant).expert_id for one in requests]

    assert batch.expert_ids == alone
    assert set(alone[0::3]) <= {"theirs", "chatty"}
    assert set(alone[1::3] + alone[2::3]) == {"chatty"}


def test_health_lists_services_too() -> None:
    rows = {row.expert_id: row for row in health_of(_on(JSON))}

    assert (rows["worker"].available, rows["worker"].latency_ms, rows["worker"].provider) == (
        True,
        1000.0,
        "service:worker",
    )
