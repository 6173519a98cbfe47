"""What the scripts of the Redis ledger count by themselves: Lua's numbers, its calendar, its layout of accounts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Ceiling, Refusal, Window
from crew_moe.domain.money import MAX_USD, to_nano, to_usd
from crew_moe.state.accounts import open_bucket
from crew_moe.state.ledger_input import MAX_SCOPES
from crew_moe.state.redis.ledger import RedisLedger
from crew_moe.state.redis.ledger_scripts import ledger_script
from tests.contracts.ledgers import held, refused
from tests.state.given import NOW, STEADY

MOST = to_nano(MAX_USD)
amounts_near_the_edges = st.one_of(
    st.integers(0, MOST),
    st.integers(-3, 3).flatmap(lambda off: st.integers(1, 999).map(lambda usd: max(0, usd * 1_000_000_000 + off))),
    st.integers(MOST - 5, MOST),
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def ledger(redis_url: str, clock: ManualClock) -> Iterator[RedisLedger]:
    opened = RedisLedger(redis_url, clock=clock)
    yield opened
    opened.close()


def test_sums_are_exact_where_a_double_is_not(ledger: RedisLedger) -> None:
    pairs = st.lists(st.tuples(amounts_near_the_edges, amounts_near_the_edges), min_size=1, max_size=4)
    numbers = iter(range(10_000))

    @STEADY
    @given(pairs)
    def exact(pairs: list[tuple[int, int]]) -> None:
        scope = f"run:{next(numbers)}"
        for reserved, spent in pairs:
            ledger.settle(held(ledger.reserve((scope,), usd=to_usd(reserved))).id, usd=to_usd(spent))
        status = ledger.status(scope)
        settled = sum(min(reserved, spent) for reserved, spent in pairs)
        assert (to_nano(status.settled_usd), to_nano(status.reserved_usd)) == (settled, 0)
        assert to_nano(status.overrun_usd) == sum(max(0, spent - reserved) for reserved, spent in pairs)

    exact()


def test_room_is_exact_where_a_double_is_not(ledger: RedisLedger) -> None:
    numbers = iter(range(10_000))

    @STEADY
    @given(amounts_near_the_edges, amounts_near_the_edges, st.integers(-2, 2))
    def exact(limit: int, first: int, off: int) -> None:
        scope, second = f"run:{next(numbers)}", min(MOST, max(0, limit - first + off))
        ledger.set_limit(scope, usd=to_usd(limit))
        fits = [first <= limit]
        fits.append((first if fits[0] else 0) + second <= limit or second == 0)
        answers = [ledger.reserve((scope,), usd=to_usd(nano)) for nano in (first, second)]
        assert [answer.ok for answer in answers] == fits
        if isinstance(answers[1], Refusal):
            assert to_nano(answers[1].available) == limit - (first if fits[0] else 0)

    exact()


def test_windows_are_those_of_the_calendar(ledger: RedisLedger, clock: ManualClock) -> None:
    first = datetime(2026, 3, 2, tzinfo=UTC)
    moments = [first + timedelta(hours=hours, microseconds=hours % 3 - 1) for hours in range(0, 24 * 366 * 90, 24 * 61)]
    moments += [datetime(year, month, 1, tzinfo=UTC) for year in (2028, 2100, 2104) for month in (2, 3, 12)]
    for number, moment in enumerate(sorted(moments)):
        clock.advance((moment - clock.now()) / timedelta(seconds=1))
        for window in (Window.HOUR, Window.DAY, Window.MONTH):
            status = ledger.set_limit(f"user:{number}/{window}", usd=1, window=window)
            expected = open_bucket("", window, clock.now())
            assert (status.opened_at, status.ends_at) == (expected.opened_at, expected.ends_at)


def test_as_many_scopes_as_there_may_be(ledger: RedisLedger) -> None:
    scopes = tuple(f"task:{number}/{'é' * 190}" for number in range(MAX_SCOPES))
    ceilings = {scope: Ceiling(limit_nano=2 * 10**9) for scope in scopes[::2]}

    ids = [held(ledger.reserve(scopes, usd=1, ceilings=ceilings, note="東京")).id for _ in range(2)]

    assert refused(ledger.reserve(scopes, usd=1)).scope == scopes[0]
    assert [charge.note for charge in ledger.open_charges()] == ["東京"] * 2
    settlement = ledger.settle(ids[0], usd="0.5")
    assert settlement.scopes == scopes
    assert [standing.used_nano for standing in settlement.standings] == [1_500_000_000] * len(ceilings)


@pytest.mark.parametrize("name", ["reserve", "finish", "charge", "limit", "status", "reconcile"])
def test_constants_are_written_out(name: str) -> None:
    text = ledger_script(name).text
    code = "\n".join(line.partition("--")[0] for line in text.splitlines())

    words = {word for word in code.replace("'", " ' ").split() if word.isupper() and len(word) > 1}

    assert "local NANO" not in code
    assert not words & {"NANO", "NONE", "DAY", "OK", "REFUSED", "USUAL_FORMAT", "ACCOUNT_SIZE"}
