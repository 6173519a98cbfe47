"""What the same tokens would have cost at the best and at the cheapest expert."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from crew_moe.catalog import load_registry
from crew_moe.cli.yardstick import measure
from crew_moe.domain.expert import Expert
from crew_moe.domain.price import Price, Rates, Tariff

TOKENS = [(1_000, 500), (2_000, 0)]


@pytest.fixture(scope="module")
def expert() -> Expert:
    return load_registry()["gpt-4o"]


def _priced(expert: Expert, expert_id: str, quality: float, usd_per_mtok: str) -> Expert:
    price = Decimal(usd_per_mtok)
    rates = Rates(input_usd_per_mtok=price, output_usd_per_mtok=price * 10)
    return replace(expert.priced(Price(standard=Tariff(rates=rates))), expert_id=expert_id, quality=quality)


def test_best_and_cheapest_are_priced_at_the_same_tokens(expert: Expert) -> None:
    found = measure([_priced(expert, "good", 0.9, "10"), _priced(expert, "cheap", 0.5, "1")], TOKENS)

    assert found.best is not None
    assert found.cheapest is not None
    assert (found.best.expert_id, found.best.cost_usd) == ("good", Decimal("0.08"))
    assert (found.cheapest.expert_id, found.cheapest.cost_usd) == ("cheap", Decimal("0.008"))


def test_of_equally_good_experts_the_cheaper_one_counts(expert: Expert) -> None:
    found = measure([_priced(expert, "dear", 0.9, "10"), _priced(expert, "fair", 0.9, "5")], TOKENS)

    assert found.best is not None
    assert found.best.expert_id == "fair"


def test_free_expert_may_be_best_but_is_no_measure_of_cheap(expert: Expert) -> None:
    found = measure([_priced(expert, "free", 0.9, "0"), _priced(expert, "cheap", 0.5, "1")], TOKENS)

    assert found.best is not None
    assert found.cheapest is not None
    assert (found.best.expert_id, found.best.cost_usd) == ("free", Decimal(0))
    assert found.cheapest.expert_id == "cheap"


@pytest.mark.parametrize("change", [{"enabled": False}, {"named_only": True}, {"provider": "local"}])
def test_expert_that_nobody_would_choose_is_left_out(expert: Expert, change: dict[str, object]) -> None:
    found = measure([replace(expert, **change)], TOKENS)  # type: ignore[arg-type]

    assert (found.best, found.cheapest) == (None, None)
