"""Money: integer nano-USD inside, Decimal at the edge.

A price of 1 US$ per million tokens is 1,000 nano-USD per token, so a list price with six decimals is a whole
number of femto-dollars per token and charges are exact until the last, upward rounding.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from typing import Final

from crew_moe.errors import InvalidInput

NANO: Final = 1_000_000_000
NANO_PER_TOKEN_AT_1_USD_PER_MTOK: Final = 1_000
MAX_USD: Final = Decimal(1_000_000_000)
MAX_SHOWN: Final = 60
# A caller's own decimal context may have few digits; money is exact whoever counts it.
_EXACT: Final = Context(prec=60, rounding=ROUND_CEILING)
_NANO: Final = Decimal(NANO)
_NUMBERS: Final = (str, int, float, Decimal)  # a tuple: a union is slower to ask


def parse_usd(value: object, *, where: str = "") -> Decimal:
    """A finite, non-negative Decimal of at most 1e9 US$ from a str, int, float or Decimal.

    Raises InvalidInput for anything else (NaN, infinity, a negative amount, a word).
    """
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        kind = type(value).__name__
        raise InvalidInput(f"a {kind} is no amount of US$", where=where, allowed=("a number such as '0.01'",))
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0 or amount > MAX_USD:
        shown = repr(value)[:MAX_SHOWN]
        raise InvalidInput(
            f"{shown} is no amount of US$", where=where, allowed=(f"a finite number from 0 to {MAX_USD:,}",)
        )
    return amount


def to_nano(usd: Decimal) -> int:
    """US$ -> nano-USD, rounded up: a charge is never understated."""
    return int(usd.scaleb(9, _EXACT).to_integral_value(rounding=ROUND_CEILING, context=_EXACT))


def to_usd(nano: int) -> Decimal:
    """nano-USD -> US$, exact."""
    return _EXACT.divide(Decimal(nano), _NANO)


def usd_written(nano: int) -> str:
    """nano-USD as US$ in plain digits, the same as `to_usd` has, at a tenth of the price.

    >>> usd_written(5_253_000)
    '0.005253'
    """
    whole, rest = divmod(nano, NANO)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else str(whole)


def price_nano(tokens: int, usd_per_mtok: Decimal) -> int:
    """nano-USD for `tokens` at a list price, rounded up; exact for any Decimal price."""
    exact = _EXACT.multiply(usd_per_mtok, tokens * NANO_PER_TOKEN_AT_1_USD_PER_MTOK)
    return int(exact.to_integral_value(rounding=ROUND_CEILING, context=_EXACT))


def tokens_within(nano: int, usd_per_mtok: Decimal) -> int:
    """The most tokens that this much nano-USD pays for at a list price above zero; below zero for a debt."""
    price, parts = usd_per_mtok.as_integer_ratio()
    return nano * parts // (price * NANO_PER_TOKEN_AT_1_USD_PER_MTOK)


def discounted(usd_per_mtok: Decimal, share: Decimal) -> Decimal:
    """A list price less a share (0-1) of it, exact."""
    return _EXACT.multiply(usd_per_mtok, _EXACT.subtract(Decimal(1), share))
