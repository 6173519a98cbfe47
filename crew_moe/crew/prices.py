"""Prices of models that the catalogue does not know, where the `prices` extra is installed."""

from __future__ import annotations

from decimal import Decimal

from crew_moe.catalog.live_prices import has_live_prices, live_price
from crew_moe.domain.money import to_usd
from crew_moe.domain.usage import Usage


def price_usd(usage: Usage, model: str, provider: str | None) -> Decimal | None:
    """What the call cost by genai-prices; None when it is not installed or knows no such model."""
    price = live_price(model, provider) if has_live_prices() else None
    return None if price is None else to_usd(price.bill_nano(usage))
