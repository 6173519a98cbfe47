"""The catalogue that ships: seed 001's experts, figures with a source, prices that others confirm."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from crew_moe.catalog import load_registry, packaged_config
from crew_moe.catalog.live_prices import live_price, with_live_prices
from crew_moe.catalog.locate import layers, packaged_documents
from crew_moe.domain.expert import Capability, Expert, Status
from crew_moe.domain.price import PLAIN

REGISTRY = load_registry()
SEED_001 = {
    # id: quality, US$ per thousand tokens in and out
    "claude-opus-4": (0.98, "0.015", "0.075"),
    "claude-sonnet-4": (0.95, "0.003", "0.015"),
    "claude-haiku-4": (0.80, "0.00025", "0.00125"),
    "gpt-5": (0.94, "0.005", "0.020"),
    "gpt-4o": (0.92, "0.0025", "0.010"),
    "gpt-4o-mini": (0.82, "0.00015", "0.00060"),
    "o1": (0.97, "0.015", "0.060"),
    "o1-mini": (0.90, "0.003", "0.012"),
    "gemini-2.0-flash-thinking": (None, "0", "0"),
    "gemini-pro-1.5": (0.89, "0.00125", "0.00500"),
    "gemini-flash-1.5": (0.81, "0.000075", "0.000300"),
    "mistral-large-2": (0.87, "0.002", "0.006"),
    "mistral-small-2": (0.78, "0.0002", "0.0006"),
    "command-r-plus": (0.86, "0.0025", "0.0100"),
    "command-r": (0.79, "0.0005", "0.0015"),
}
remote = [expert for expert in REGISTRY if not expert.is_local]


@pytest.mark.parametrize("expert_id", SEED_001)
def test_experts_of_seed_001_have_its_figures(expert_id: str) -> None:
    quality, given, taken = SEED_001[expert_id]
    expert = REGISTRY[expert_id]

    assert quality in (None, expert.quality)
    assert expert.input_usd_per_mtok == Decimal(given) * 1000
    assert expert.output_usd_per_mtok == Decimal(taken) * 1000


def test_there_are_eighteen_of_five_providers_and_some_of_one_s_own() -> None:
    assert len(remote) == 18
    assert {expert.provider for expert in remote} == {"anthropic", "openai", "google", "mistral", "cohere"}
    assert len(REGISTRY) > 18


def test_windows_and_latencies_that_seed_001_names() -> None:
    assert REGISTRY["gemini-2.0-flash-thinking"].context_window == 1_000_000
    assert REGISTRY["gemini-pro-1.5"].context_window == 2_000_000
    assert REGISTRY["gemini-flash-1.5"].context_window == 1_000_000
    assert REGISTRY["claude-sonnet-4"].latency_p50_ms == 800


@pytest.mark.parametrize("expert", REGISTRY, ids=lambda expert: expert.expert_id)
def test_every_expert_says_where_its_figures_come_from(expert: Expert) -> None:
    assert expert.source
    assert expert.checked_on.year >= 2026
    assert expert.capabilities <= set(Capability)
    assert (expert.api_key_env is None) is expert.is_local


def test_every_provider_has_somebody_who_still_answers() -> None:
    answering = {expert.provider for expert in remote if expert.status is Status.ACTIVE}

    assert answering == {expert.provider for expert in remote}


@pytest.mark.parametrize("expert_id", [e.expert_id for e in REGISTRY if "genai-prices" in e.source])
def test_prices_that_cite_genai_prices_are_its_own(expert_id: str) -> None:
    expert = REGISTRY[expert_id]

    def price(**tokens: int) -> Decimal:
        return calc_price(Usage(**tokens), expert.provider_model, provider_id=expert.provider).total_price

    assert price(input_tokens=10_000) * 100 == expert.input_usd_per_mtok
    assert price(output_tokens=10_000) * 100 == expert.output_usd_per_mtok
    found = calc_price(Usage(), expert.provider_model, provider_id=expert.provider).model
    # It rounds 2**20 to a million.
    assert found.context_window == pytest.approx(expert.context_window, rel=0.05)


@pytest.mark.parametrize("expert_id", [e.expert_id for e in REGISTRY if e.prices != PLAIN])
def test_further_prices_are_those_of_genai_prices(expert_id: str) -> None:
    expert = REGISTRY[expert_id]

    assert live_price(expert.provider_model, expert.provider, datetime(2026, 11, 20, tzinfo=UTC)) == expert.price


def test_every_expert_that_genai_prices_knows_at_its_price_has_its_further_prices() -> None:
    live = {expert.expert_id: expert for expert in with_live_prices(REGISTRY, datetime(2026, 11, 20, tzinfo=UTC))}
    same = [one for one in remote if live[one.expert_id].input_usd_per_mtok == one.input_usd_per_mtok]

    assert [one.expert_id for one in same if one.prices != live[one.expert_id].prices] == []
    assert len(same) > 12


def test_nobody_s_rate_limits_are_packaged() -> None:
    assert not any(expert.limits.known for expert in REGISTRY)


def test_no_key_stands_in_the_packaged_files() -> None:
    for file in packaged_config().rglob("*.yaml"):
        assert not re.search(r"\b(sk|gsk|AIza|pk)[-_][A-Za-z0-9]{8}", file.read_text(encoding="utf-8")), file


def test_the_packaged_folder_is_one_layer() -> None:
    assert layers("experts.yaml", packaged_config()) == layers("experts.yaml", None)
    assert packaged_documents().is_dir()
