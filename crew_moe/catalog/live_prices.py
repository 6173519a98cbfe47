"""Prices as the genai-prices library has them today, in place of the catalogue's. Nothing is fetched.

The library finds a model by the beginning of its name, so that it gives the price of `gemini-2.0-flash` for
`gemini-2.0-flash-thinking-exp` too. Only a name that differs in nothing but dates and numbers is the very model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from crew_moe.domain.expert import Expert
from crew_moe.domain.price import Details, Price, Rates, Step, Tariff
from crew_moe.domain.registry import Registry
from crew_moe.errors import MissingExtra

LIBRARY: Final = "genai_prices"
_INPUT: Final = "input_mtok"
_OUTPUT: Final = "output_mtok"
_DETAILS: Final[Mapping[str, str]] = {
    "cached_input_usd_per_mtok": "cache_read_mtok",
    "cache_write_usd_per_mtok": "cache_write_mtok",
    "input_audio_usd_per_mtok": "input_audio_mtok",
    "input_image_usd_per_mtok": "input_image_mtok",
    "reasoning_usd_per_mtok": "output_reasoning_mtok",
    "output_audio_usd_per_mtok": "output_audio_mtok",
}
_EVERY_CALL: Final = frozenset({"requests_kcount", "output_citation_mtok"})
"""What a call may cost beside its tokens, and nobody can foresee: a model with such a price keeps the catalogue's."""
_BATCH: Final = {"processing": "batch"}
_WORD = re.compile(r"[a-z]+")
_UNSAID: Final = frozenset({"latest", "v"})


def has_live_prices() -> bool:
    """Whether the library is installed (the `prices` extra)."""
    return find_spec(LIBRARY) is not None


def with_live_prices(registry: Registry, now: datetime | None = None) -> Registry:
    """The catalogue at the prices of `now` (None: of this moment); experts that the library does not know keep theirs.

    Raises MissingExtra without the library.
    """
    return Registry(experts=tuple(_at_live_price(expert, now) for expert in registry))


def live_price(model: str, provider: str | None, now: datetime | None = None) -> Price | None:
    """The price of one model; None where the library does not know it, or prices it by more than its tokens.

    Raises MissingExtra without the library.
    """
    found = _found(model, provider, now)
    if found is None or not _is_same(model, found.model.id):
        return None
    standard = _tariff(vars(found.model_price))
    in_batch = _found(model, provider, now, context=_BATCH)
    batch = None if in_batch is None else _tariff(vars(in_batch.model_price))
    return None if standard is None else Price(standard=standard, batch=None if batch == standard else batch)


def _at_live_price(expert: Expert, now: datetime | None) -> Expert:
    price = None if expert.is_local else live_price(expert.provider_model, expert.provider, now)
    return expert if price is None else expert.priced(price)


def _found(
    model: str, provider: str | None, now: datetime | None, context: Mapping[str, str] | None = None
) -> Any | None:
    """What the library answers for a call without tokens."""
    if not has_live_prices():
        raise MissingExtra("prices", LIBRARY)
    library = import_module(LIBRARY)
    try:
        return library.calc_price(
            library.Usage(), model, provider_id=provider, genai_request_timestamp=now, price_context=context
        )
    except (LookupError, ValueError):
        return None


def _is_same(asked: str, found: str) -> bool:
    return _words(asked) == _words(found)


def _words(name: str) -> frozenset[str]:
    return frozenset(_WORD.findall(name.lower())) - _UNSAID


def _tariff(prices: Mapping[str, Any]) -> Tariff | None:
    """The library's prices as ours, step by step; None where they lack the input's or the output's."""
    named = {name: price for name, price in prices.items() if price is not None}
    if not {_INPUT, _OUTPUT} <= named.keys() or _EVERY_CALL & named.keys():
        return None
    starts = sorted(set(_starts(named.values())))
    steps = (Step(above_tokens=start, rates=_rates(named, start)) for start in starts)
    return Tariff(rates=_rates(named, None), steps=tuple(steps))


def _starts(prices: Iterable[Any]) -> Iterator[int]:
    for price in prices:
        yield from (tier.start for tier in getattr(price, "tiers", ()))


def _rates(prices: Mapping[str, Any], start: int | None) -> Rates:
    details = {ours: _at(prices[theirs], start) for ours, theirs in _DETAILS.items() if theirs in prices}
    return Rates(
        input_usd_per_mtok=_at(prices[_INPUT], start),
        output_usd_per_mtok=_at(prices[_OUTPUT], start),
        details=Details(**details),
    )


def _at(price: Any, start: int | None) -> Decimal:
    """One price above `start` tokens of input (None: of a short one)."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if start is not None and tier.start <= start]
    found: Decimal = reached[-1] if reached else price.base
    return found
