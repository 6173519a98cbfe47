"""What is expected of an expert that no model knows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from crew_moe.domain.expert import Tier
from crew_moe.learning.quality.prior import SPREAD, prior_quality
from tests.routing.given import expert


def test_a_higher_tier_is_expected_to_be_better() -> None:
    found = [prior_quality(expert(tier=tier))[0] for tier in (Tier.FAST, Tier.BASELINE, Tier.PREMIUM)]

    assert found == sorted(found)
    assert found[0] < found[2]


@pytest.mark.parametrize("tier", list(Tier))
def test_within_a_tier_the_price_counts_a_little(tier: Tier) -> None:
    cheap, dear = (expert(tier=tier, output_usd_per_mtok=Decimal(price)) for price in ("0.1", "100"))

    assert prior_quality(cheap)[0] < prior_quality(dear)[0] < prior_quality(cheap)[0] + 0.12


def test_a_free_expert_is_neither_better_nor_worse() -> None:
    free = replace(expert(), input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))

    mean, spread = prior_quality(free)

    assert mean == pytest.approx(0.72 - 0.08 * (free.tier is Tier.FAST))
    assert spread == SPREAD
