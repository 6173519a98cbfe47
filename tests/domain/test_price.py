"""Prices: each token is charged once, and nothing costs more than was foreseen."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.price import Bounds, Details, Price, PriceList, Rates, Step, Tariff
from crew_moe.domain.usage import Usage
from tests.routing.given import expert

MILLION = 1_000_000
USD = 1_000_000_000


def rates(given: str = "2", taken: str = "10", **details: str) -> Rates:
    own = {f"{name}_usd_per_mtok": Decimal(price) for name, price in details.items()}
    return Rates(input_usd_per_mtok=Decimal(given), output_usd_per_mtok=Decimal(taken), details=Details(**own))


def price(rates_: Rates, *steps: tuple[int, Rates], batch: Rates | None = None) -> Price:
    standard = Tariff(rates=rates_, steps=tuple(Step(above_tokens=above, rates=one) for above, one in steps))
    return Price(standard=standard, batch=None if batch is None else Tariff(rates=batch))


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(input_tokens=MILLION), 2.0),
        (Usage(output_tokens=MILLION), 10.0),
        (Usage(input_tokens=MILLION, cached_tokens=MILLION // 2), 1.1),
        (Usage(input_tokens=MILLION, cache_write_tokens=MILLION // 2), 2.25),
        (Usage(input_tokens=MILLION, cached_tokens=MILLION // 4, cache_write_tokens=MILLION // 4), 1.675),
        (Usage(input_tokens=MILLION, input_audio_tokens=MILLION // 2), 21.0),
        (Usage(input_tokens=MILLION, input_image_tokens=MILLION // 2), 3.5),
        (Usage(output_tokens=MILLION, output_audio_tokens=MILLION // 2), 45.0),
        (Usage(output_tokens=MILLION, reasoning_tokens=MILLION // 2), 6.5),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, usd: float) -> None:
    sent = {"cached_input": "0.2", "cache_write": "2.5", "input_audio": "40", "input_image": "5"}
    own = rates(**sent, reasoning="3", output_audio="80")

    assert own.bill_nano(usage) == usd * USD


def test_parts_without_a_price_of_their_own_cost_what_the_rest_costs() -> None:
    usage = Usage(input_tokens=9, cached_tokens=5, input_audio_tokens=4, output_tokens=3, reasoning_tokens=2)

    assert (
        rates().bill_nano(usage) == rates().bill_nano(Usage(input_tokens=9, output_tokens=3)) == 9 * 2_000 + 3 * 10_000
    )


def test_parts_that_claim_more_than_there_is_get_what_there_is() -> None:
    nonsense = Usage(input_tokens=10, cached_tokens=99, input_audio_tokens=4)

    assert rates(cached_input="1", input_audio="3").bill_nano(nonsense) == 4 * 3_000 + 6 * 1_000


def test_each_part_is_rounded_up() -> None:
    tiny = rates("0.0001", "0.0001", cached_input="0.0001")

    assert tiny.bill_nano(Usage(input_tokens=2, cached_tokens=1, output_tokens=1)) == 3


@pytest.mark.parametrize(("tokens", "usd_per_mtok"), [(200, 2), (201, 4), (1_000, 4), (1_001, 6)])
def test_long_input_makes_the_whole_call_dearer(tokens: int, usd_per_mtok: int) -> None:
    stepped = price(rates("2"), (200, rates("4")), (1_000, rates("6")))

    assert stepped.bill_nano(Usage(input_tokens=tokens)) == tokens * usd_per_mtok * 1_000


def test_batch_has_its_own_price_where_it_has_one() -> None:
    usage = Usage(input_tokens=10, batch=True)

    assert price(rates("2"), batch=rates("1")).bill_nano(usage) == 10_000
    assert price(rates("2")).bill_nano(usage) == 20_000


def test_discount_is_on_everything() -> None:
    stepped = Tariff(rates=rates("2", "10", cached_input="1"), steps=(Step(above_tokens=5, rates=rates("4", "20")),))

    halved = Tariff(rates=rates("1", "5", cached_input="0.5"), steps=(Step(above_tokens=5, rates=rates("2", "10")),))
    assert stepped.discounted(Decimal("0.5")) == halved


def test_audio_and_images_are_foreseen_only_where_the_call_has_them() -> None:
    dear = rates("2", "10", input_audio="40", input_image="5", output_audio="80")

    worst = [
        dear.worst_nano(Bounds(input_tokens=1_000, output_tokens=1_000, **has))
        for has in ({}, {"images": True}, {"audio": True})
    ]
    assert worst == [12_000_000, 15_000_001, 120_000_002]


@pytest.mark.parametrize(
    ("one", "free"),
    [
        (price(rates("0", "0")), True),
        (price(rates("0", "0", cached_input="0")), True),
        (price(rates("0", "0", input_audio="1")), False),
        (price(rates("0", "0"), (9, rates("1", "0"))), False),
        (price(rates("0", "0"), batch=rates("0", "1")), False),
    ],
)
def test_free_is_what_can_never_cost_anything(one: Price, free: bool) -> None:
    assert one.is_free is free
    everything = Bounds(input_tokens=MILLION, output_tokens=MILLION, audio=True, images=True)
    assert (one.worst_nano(everything) == 0) is free


def test_callers_decimal_context_changes_nothing() -> None:
    dear = price(rates("1.23456", "98.7654321", cached_input="0.123456789"))
    usage, bounds = Usage(input_tokens=123_457, output_tokens=9_999, cached_tokens=4_321), Bounds(input_tokens=123_457)
    exact = dear.bill_nano(usage), dear.output_room(10**12, bounds), dear.standard.discounted(Decimal("0.123"))

    with localcontext(prec=2):
        assert (dear.bill_nano(usage), dear.output_room(10**12, bounds)) == exact[:2]
        assert dear.standard.discounted(Decimal("0.123")) == exact[2]


def test_free_output_has_no_bound_once_the_input_is_paid() -> None:
    assert price(rates("1", "0")).output_room(10_000, Bounds(input_tokens=10)) is None
    assert price(rates("1", "0")).output_room(9_999, Bounds(input_tokens=10)) == 0


def test_expert_has_the_price_that_it_is_given() -> None:
    one = price(rates("3", "4", cached_input="1"), (10, rates("5", "6")), batch=rates("1", "2"))

    assert expert().priced(one).price == one
    assert expert().priced(one).charge_nano(11, 1) == 11 * 5_000 + 6_000


USD_PER_MTOK = st.just(Decimal(0)) | st.decimals(0, 100, places=4)
DETAILS = st.builds(Details, **{one.name: st.none() | USD_PER_MTOK for one in fields(Details)})
RATES = st.builds(Rates, input_usd_per_mtok=USD_PER_MTOK, output_usd_per_mtok=USD_PER_MTOK, details=DETAILS)
STEPS = st.lists(st.tuples(st.integers(0, 5_000), RATES), max_size=2, unique_by=lambda step: step[0]).map(
    lambda steps: tuple(Step(above_tokens=above, rates=one) for above, one in sorted(steps, key=lambda step: step[0]))
)
TARIFFS = st.builds(Tariff, rates=RATES, steps=STEPS)
PRICES = st.builds(Price, standard=TARIFFS, batch=st.none() | TARIFFS)
TOKENS = st.integers(0, 5_000)


@st.composite
def used(draw: st.DrawFn) -> tuple[Usage, Bounds]:
    """A usage, nonsense included, and bounds that hold for it."""
    usage = draw(st.builds(Usage, **{name: TOKENS for name in Usage.__slots__ if name != "batch"}, batch=st.booleans()))
    bounds: dict[str, Any] = {
        "input_tokens": usage.input_tokens + draw(TOKENS),
        "output_tokens": usage.output_tokens + draw(TOKENS),
        "audio": bool(usage.input_audio_tokens or usage.output_audio_tokens) or draw(st.booleans()),
        "images": bool(usage.input_image_tokens) or draw(st.booleans()),
    }
    return usage, Bounds(**bounds)


@given(price=PRICES, case=used())
def test_no_call_costs_more_than_was_foreseen(price: Price, case: tuple[Usage, Bounds]) -> None:
    usage, bounds = case

    assert 0 <= price.bill_nano(usage) <= price.worst_nano(bounds)


@given(price=PRICES, case=used())
def test_bill_is_between_its_cheapest_and_its_dearest_rate(price: Price, case: tuple[Usage, Bounds]) -> None:
    usage, _ = case
    tariff = price.batch if usage.batch and price.batch is not None else price.standard
    at = tariff.at(usage.input_tokens)
    every = [getattr(at.details, one.name) for one in fields(Details)]
    named = [at.input_usd_per_mtok, at.output_usd_per_mtok, *(one for one in every if one is not None)]
    tokens = usage.input_tokens + usage.output_tokens

    assert tokens * min(named) * 1_000 <= price.bill_nano(usage) <= tokens * max(named) * 1_000 + len(named)


@given(price=PRICES, tokens=TOKENS, answer=TOKENS, off=st.integers(-2, 2), audio=st.booleans(), images=st.booleans())
def test_room_is_the_longest_answer_whose_worst_case_fits(
    price: Price, tokens: int, answer: int, off: int, audio: bool, images: bool
) -> None:
    def worst(output: int) -> int:
        return price.worst_nano(Bounds(input_tokens=tokens, output_tokens=output, audio=audio, images=images))

    left = worst(answer) + off
    room = price.output_room(left, Bounds(input_tokens=tokens, audio=audio, images=images))

    if room is None:
        assert worst(10**9) == worst(0) <= left
    else:
        assert room == 0 or worst(room) <= left
        assert worst(room + 1) > left


@given(plan=st.builds(PriceList, details=DETAILS, long_context=STEPS, batch=st.none() | TARIFFS), case=used())
def test_experts_and_their_prices_agree(plan: PriceList, case: tuple[Usage, Bounds]) -> None:
    one, (usage, bounds) = expert(prices=plan), case
    has = {"audio": bounds.audio, "images": bounds.images}

    assert one.bill_nano(usage) <= one.worst_nano(bounds.input_tokens, bounds.output_tokens, **has)
    assert one.output_room(10**6, bounds.input_tokens, **has) == one.price.output_room(10**6, bounds)
