"""Live prices are those of genai-prices: the same bill to the rounding, for every model that our prices can express."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot

from crew_moe.catalog import live_prices, load_registry
from crew_moe.catalog.live_prices import has_live_prices, live_price, with_live_prices
from crew_moe.domain.money import NANO
from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.errors import MissingExtra

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REGISTRY = load_registry()
PARTS = 8  # each is rounded up to a nano-USD
THEIRS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "input_image_tokens": "input_image_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "output_audio_tokens": "output_audio_tokens",
}
BOTH = ("cache_audio_read_tokens", "cache_image_read_tokens")  # tokens in two parts, which no answer tells


def models() -> Iterator[tuple[str, str]]:
    """Provider and model, of every model of those who serve under their own name."""
    for provider in get_snapshot().providers:
        if provider.id in {"anthropic", "cohere", "deepseek", "google", "groq", "mistral", "openai", "x-ai"}:
            yield from ((provider.id, model.id) for model in provider.models)


def usage(rng: Random) -> Usage:
    """A plausible one, long or short, with every kind of token."""
    sent = [rng.randrange(rng.choice([1, 50, 100_000])) for _ in range(5)]
    given = [rng.randrange(5_000) for _ in range(3)]
    cached, written, heard, seen, _ = sent
    thought, spoken, _ = given
    return Usage(
        input_tokens=sum(sent),
        output_tokens=sum(given),
        cached_tokens=cached,
        cache_write_tokens=written,
        input_audio_tokens=heard,
        input_image_tokens=seen,
        reasoning_tokens=thought,
        output_audio_tokens=spoken,
        batch=rng.random() < 0.3,
    )


def their_bill(provider: str, model: str, tokens: Usage) -> Decimal:
    """What genai-prices charges for it, in nano-USD."""
    counts: dict[str, Any] = {theirs: getattr(tokens, ours) for ours, theirs in THEIRS.items()}
    found = genai_prices.calc_price(
        genai_prices.Usage(**counts, **dict.fromkeys(BOTH, 0)),
        model,
        provider_id=provider,
        genai_request_timestamp=NOW,
        price_context={"processing": "batch"} if tokens.batch else None,
    )
    return found.total_price * NANO


@pytest.mark.parametrize("seed", range(5))
def test_bills_are_those_of_the_library(seed: int) -> None:
    rng, compared = Random(seed), 0
    for provider, model in models():
        price, tokens = live_price(model, provider, NOW), usage(rng)
        if price is not None:
            above = price.bill_nano(tokens) - their_bill(provider, model, tokens)
            assert 0 <= above < PARTS, (provider, model, tokens)
            compared += 1

    assert compared > 200


def test_catalogue_is_priced_anew() -> None:
    live = with_live_prices(REGISTRY, NOW)

    assert live["gpt-5"].input_usd_per_mtok == Decimal("1.25") != REGISTRY["gpt-5"].input_usd_per_mtok
    assert live["gpt-5"].prices.details.cached_input_usd_per_mtok == Decimal("0.125")
    assert live.digest != REGISTRY.digest
    assert [expert.expert_id for expert in live] == [expert.expert_id for expert in REGISTRY]


def test_live_catalogue_is_at_live_prices_where_the_library_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_registry(live=True).digest == with_live_prices(REGISTRY).digest
    monkeypatch.setattr(live_prices, "LIBRARY", "no_such_library")
    assert load_registry(live=True).digest == REGISTRY.digest


@pytest.mark.parametrize("expert_id", ["mistral-small-2", "gemini-2.0-flash-thinking", "local/ollama"])
def test_expert_that_the_library_does_not_know_keeps_its_price(expert_id: str) -> None:
    """The thinking model is not the flash model whose name begins its name."""
    assert with_live_prices(REGISTRY, NOW)[expert_id] == REGISTRY[expert_id]


def test_step_for_long_inputs_is_known() -> None:
    price = live_price("gemini-1.5-pro-002", "google", NOW)

    assert price is not None
    short, long = (price.bill_nano(Usage(input_tokens=tokens)) / tokens for tokens in (128_000, 128_001))
    assert long == 2 * short


def test_price_for_each_request_is_none_of_ours() -> None:
    assert live_price("sonar", "perplexity", NOW) is None


def test_provider_that_nobody_knows_has_no_price() -> None:
    assert live_price("gpt-4o", "acme", NOW) is None


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_prices, "LIBRARY", "no_such_library")

    assert not has_live_prices()
    with pytest.raises(MissingExtra, match=r"crew-moe\[prices\]"):
        with_live_prices(REGISTRY)


def test_experts_of_one_s_own_machines_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_prices, "LIBRARY", "no_such_library")
    own = Registry(experts=(replace(REGISTRY["gpt-4o"], provider="local"),))

    assert with_live_prices(own).digest == own.digest
