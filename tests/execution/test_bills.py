"""What is put aside before a call covers its bill, whatever the provider's prices and whatever it counts."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.money import to_nano
from crew_moe.domain.price import Details, PriceList, Rates, Step, Tariff
from crew_moe.domain.usage import Usage
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.spend import size_of
from tests.execution.given import CHAT, EXPERT, TASK, Player, Stage, route, stage

USD = st.decimals(0, 50, places=3)
DETAILS = st.builds(Details, **{one.name: st.none() | USD for one in fields(Details)})
RATES = st.builds(Rates, input_usd_per_mtok=USD, output_usd_per_mtok=USD, details=DETAILS)
PRICES = st.builds(
    PriceList,
    details=DETAILS,
    long_context=st.builds(Step, above_tokens=st.integers(1, 100), rates=RATES).map(lambda step: (step,)) | st.just(()),
    batch=st.none() | st.builds(Tariff, rates=RATES),
)
SHARE = st.floats(0, 1)


def over(on: Stage, usage: list[float], *, batch: bool) -> Stage:
    """The stage, whose expert takes these shares of what it may."""

    def play() -> ChatReply:
        request = on.player.requests[-1]
        sent = max(1, int(size_of(request).bound * usage[0]))  # no tokens at all would be untold ones
        given_ = int((request.max_output_tokens or 0) * usage[1])
        parts = Usage(
            input_tokens=sent,
            output_tokens=given_,
            cached_tokens=int(sent * usage[2]),
            cache_write_tokens=int(sent * usage[3]),
            reasoning_tokens=int(given_ * usage[4]),
            batch=batch,
        )
        return ChatReply(text="Paris.", usage=parts)

    on.player.script["a"] = [play]
    return on


@given(
    prices=PRICES,
    main=st.tuples(USD, USD),
    budget_nano=st.integers(1, 10**7),
    shares=st.lists(SHARE, min_size=5, max_size=5),
    batch=st.booleans(),
)
def test_no_bill_is_more_than_was_put_aside(
    prices: PriceList, main: tuple[Decimal, Decimal], budget_nano: int, shares: list[float], batch: bool
) -> None:
    expert = replace(EXPERT, input_usd_per_mtok=main[0], output_usd_per_mtok=main[1], prices=prices)
    on = over(stage(experts=(expert,)), shares, batch=batch)
    try:
        answer = on.executor.run(route("a", budget_nano=budget_nano), CHAT)
    except ExecutionFailed:
        assert on.spent() == 0
        return

    assert to_nano(answer.cost_usd) == expert.bill_nano(answer.usage) == on.spent() <= budget_nano
    assert on.ledger.status(TASK).overrun_usd == 0


def test_answer_is_cut_to_what_the_long_input_leaves() -> None:
    dear = Rates(input_usd_per_mtok=Decimal(2), output_usd_per_mtok=Decimal(20))
    expert = replace(EXPERT, prices=PriceList(long_context=(Step(above_tokens=10, rates=dear),)))
    player, bound = Player(), size_of(CHAT).bound
    on = Stage(player=player, experts=(expert,))

    on.executor.run(route("a", budget_nano=bound * 2_000 + 50 * 20_000), CHAT)

    assert player.requests[0].max_output_tokens == 50


def test_cached_input_is_billed_as_such() -> None:
    expert = replace(EXPERT, prices=PriceList(details=Details(cached_input_usd_per_mtok=Decimal("0.1"))))
    told = ChatReply(text="Paris.", usage=Usage(input_tokens=20, output_tokens=5, cached_tokens=10))
    on = stage({"a": [told]}, experts=(expert,))

    answer = on.executor.run(route("a", budget_nano=10**7), CHAT)

    assert to_nano(answer.cost_usd) == 10 * 1_000 + 10 * 100 + 5 * 10_000
