"""What somebody may say of a service, and the expert that it becomes."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.service import Registration, accepted, service_from
from crew_moe.errors import InvalidRequest
from tests.state.given import NOW, service_named

SEED = {
    "service_id": "custom_processor",
    "service_type": "custom",
    "endpoint": "http://localhost:8006",
    "capabilities": ["processing", "analysis"],
    "max_capacity": 100,
}
FULL: dict[str, Any] = {
    "capabilities": ["tools", "poetry"],
    "protocol": "openai",
    "tenant": "acme",
    "weight": 0.1,
    "tier": "premium",
    "quality": 0.9,
    "latency_ms": 12.5,
    "regions": ["eu"],
    "model": "llama",
    "health_url": "http://127.0.0.1:9/h",
    "input_usd_per_mtok": "0.1",
    "output_usd_per_mtok": "0.30",
}


def test_the_seeds_body_is_a_registration() -> None:
    service = accepted(Registration(**SEED), at=NOW, by="ops")

    assert (service.protocol, service.weight, service.tenant, service.health_url) == ("json", 1.0, None, None)
    assert (service.model, service.registered_at, service.registered_by) == ("custom_processor", NOW, "ops")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"service_id": "a b"}, "service_id"),
        ({"service_id": "local/x"}, "service_id"),
        ({"service_id": "x:fast"}, "service_id"),
        ({"service_type": ""}, "service_type"),
        ({"max_capacity": 0}, "max_capacity"),
        ({"max_capacity": True}, "max_capacity"),
        ({"weight": 0.0}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"protocol": "opena"}, "protocol: 'opena' is not one of the allowed values; did you mean 'openai'?"),
        ({"capabilities": ["x" * 65]}, "capabilities"),
        ({"capabilities": [f"c{n}" for n in range(33)]}, "capabilities"),
        ({"endpont": "x"}, "unknown field 'endpont'; did you mean 'endpoint'?"),
        ({"quality": 1.5}, "quality"),
        ({"input_usd_per_mtok": "-1"}, "input_usd_per_mtok"),
    ],
)
def test_wrong_registration_names_its_field(change: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Registration(**{**SEED, **change})

    assert told in str(caught.value)


def test_a_row_brings_everything_back() -> None:
    service = service_named(**FULL)

    assert service_from(json.loads(json.dumps(service.as_dict()))) == service
    assert service_from(service_named().as_dict()) == service_named()


def test_it_becomes_an_expert_with_its_places_and_prices() -> None:
    expert = service_named(max_capacity=7, **FULL).as_expert()

    assert expert.capabilities == {Capability.TOOLS}
    assert (expert.limits.concurrent, expert.input_usd_per_mtok, expert.tier) == (7, Decimal("0.1"), Tier.PREMIUM)
    assert (expert.provider_model, expert.base_url, expert.regions) == (
        "llama",
        "http://127.0.0.1:9/run",
        frozenset({"eu"}),
    )


def test_as_an_expert_it_is_a_provider_of_its_own_without_a_key() -> None:
    expert = service_named("embedder").as_expert()

    assert expert.is_service
    assert not expert.is_local
    assert (expert.provider, expert.api_key_env, expert.base_url_env) == ("service:embedder", None, None)


def test_it_fits_by_type_or_capability_with_all_else_that_is_asked() -> None:
    service = service_named(service_type="storage", capabilities=["vectors", "fast"])

    assert service.fits("storage")
    assert service.fits("vectors", ["fast"])
    assert not service.fits("embedding")
    assert not service.fits("storage", ["cold"])


def test_it_serves_its_own_tenant_or_all() -> None:
    assert service_named().serves("acme")
    assert service_named().serves(None)
    assert service_named(tenant="acme").serves("acme")
    assert not service_named(tenant="acme").serves("other")
    assert not service_named(tenant="acme").serves(None)


def test_time_of_registration_survives_another_zone() -> None:
    service = service_named()
    row = {**service.as_dict(), "registered_at": "2026-03-01T13:00:00+01:00"}

    assert service_from(row).registered_at - service.registered_at == timedelta(0)
