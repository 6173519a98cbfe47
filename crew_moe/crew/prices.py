"""Prices of models that the catalogue does not know, where the `prices` extra is installed."""

from __future__ import annotations

from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec

from crew_moe.domain.usage import Usage

_LIBRARY = "genai_prices"


def price_usd(usage: Usage, model: str, provider: str | None) -> Decimal | None:
    """What the call cost by genai-prices; None when it is not installed or knows no such model."""
    if find_spec(_LIBRARY) is None:
        return None
    library = import_module(_LIBRARY)
    tokens = library.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens or None,
    )
    try:
        price: Decimal = library.calc_price(tokens, model_ref=model, provider_id=provider).total_price
    except (LookupError, ValueError):
        return None
    return price
