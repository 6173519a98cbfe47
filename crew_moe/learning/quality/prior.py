"""What to expect of an expert that no model has learned of: its tier, and its price among those of its tier.

A prior is a guess, with a spread that says so; the first rows of its own replace it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Final

from crew_moe.domain.expert import Expert, Tier

if TYPE_CHECKING:
    from crew_moe.learning.quality_model import QualityModel

TIER_STEP: Final[Mapping[Tier, float]] = {Tier.FAST: -0.08, Tier.BASELINE: 0.0, Tier.PREMIUM: 0.08}
USUAL_PRICE: Final[Mapping[Tier, float]] = {Tier.FAST: 0.4, Tier.BASELINE: 2.0, Tier.PREMIUM: 10.0}
"""US$ per million tokens, a quarter of them output: what is usual of a tier."""
OUTPUT_SHARE: Final = 0.25
PRICE_STEP: Final = 0.03  # quality for ten times the price
MOST_FOR_PRICE: Final = 0.05
MIDDLE: Final = 0.72  # of quality, where no model tells how hard the work is
SPREAD: Final = 0.12
LOWEST: Final = 0.05
HIGHEST: Final = 0.95


def prior_quality(expert: Expert, model: QualityModel | None = None) -> tuple[float, float]:
    """Expected quality in [0, 1] and its standard deviation. With a model, around the mean of the experts that it
    knows, which tells how hard the work is.
    """
    known = [] if model is None else list(model.mean.values())
    middle = fmean(known) if known else MIDDLE
    mean = middle + TIER_STEP[expert.tier] + _for_price(expert)
    return min(HIGHEST, max(LOWEST, mean)), math.hypot(SPREAD, pstdev(known) if known else 0.0)


def _for_price(expert: Expert) -> float:
    price = (1 - OUTPUT_SHARE) * float(expert.input_usd_per_mtok) + OUTPUT_SHARE * float(expert.output_usd_per_mtok)
    if price <= 0.0:
        return 0.0  # free on a machine of one's own says nothing
    step = PRICE_STEP * math.log10(price / USUAL_PRICE[expert.tier])
    return min(MOST_FOR_PRICE, max(-MOST_FOR_PRICE, step))
