"""Money: exact, never understated, and nothing but money."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.money import NANO, parse_usd, price_nano, to_nano, to_usd, usd_written
from crew_moe.errors import InvalidInput
from tests.routing.given import STEADY

AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=9)


@pytest.mark.parametrize(("given_", "amount"), [("0.01", "0.01"), (0.1, "0.1"), (3, "3"), (Decimal("1e-9"), "1e-9")])
def test_amounts_are_taken_as_they_are_written(given_: Any, amount: str) -> None:
    assert parse_usd(given_) == Decimal(amount)


@pytest.mark.parametrize("wrong", ["", "five", "-1", -0.01, "NaN", float("inf"), 10**10, True, None, [], "1,5"])
def test_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match=r"is no amount of US\$"):
        parse_usd(wrong, where="budget_usd")


@STEADY
@given(AMOUNTS)
def test_nano_dollars_hold_nine_decimals_exactly(amount: Decimal) -> None:
    assert to_usd(to_nano(amount)) == amount


def test_what_is_smaller_is_rounded_up() -> None:
    assert to_nano(Decimal("1e-12")) == 1
    assert price_nano(1, Decimal("0.0001")) == 1


@STEADY
@given(st.integers(0, 10**7), st.decimals(min_value=0, max_value=1000, places=6))
def test_a_price_is_never_understated_nor_off_by_a_nano(tokens: int, usd_per_mtok: Decimal) -> None:
    exact = tokens * usd_per_mtok / 1_000_000 * NANO

    assert 0 <= price_nano(tokens, usd_per_mtok) - exact < 1


def test_money_does_not_depend_on_the_callers_decimal_context() -> None:
    with localcontext() as context:
        context.prec = 6
        assert to_nano(Decimal("1234.567890123")) == 1_234_567_890_123
        assert to_usd(1_234_567_890_123) == Decimal("1234.567890123")
        assert price_nano(1_234_567, Decimal("1.234567")) == 1_524_155_678


@given(nano=st.integers(min_value=0, max_value=10**21))
def test_usd_is_written_as_the_decimal_is(nano: int) -> None:
    assert usd_written(nano) == f"{to_usd(nano):f}"
