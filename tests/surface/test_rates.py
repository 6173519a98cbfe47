"""Rates per caller: counted in a window, in memory or in a real Redis, and never in a request's way."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.auth.caller import ALL_SCOPES, LOCAL, Caller
from crew_moe.clock import ManualClock
from crew_moe.domain.principal import Principal
from crew_moe.errors import InvalidInput, MissingExtra
from crew_moe.surface import windows
from crew_moe.surface.rates import Allowed, Limited, RateLimit, Rates, address_key, caller_key
from crew_moe.telemetry.events import Recorder
from tests.redis_server import RedisServer

TWO: RateLimit = RateLimit.parse("2/minute")


def _caller(subject: str, tenant: str | None = "acme") -> Caller:
    return Caller(principal=Principal(subject=subject, tenant=tenant), scopes=ALL_SCOPES)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(params=["memory", "redis"])
async def rates(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[Rates]:
    """Two in a minute, counted in each of the places."""
    state = request.getfixturevalue("redis_url") if request.param == "redis" else ":memory:"
    opened = Rates.open(TWO, state, clock=clock)
    yield opened
    await opened.aclose()


@pytest.mark.parametrize(
    ("text", "limit"),
    [("600/minute", (600, 60)), (" 5/second ", (5, 1)), ("10/hour", (10, 3600)), ("7/day", (7, 86_400))],
)
def test_a_rate_is_written_as_a_count_and_a_unit(text: str, limit: tuple[int, int]) -> None:
    assert RateLimit.parse(text) == RateLimit(*limit)


@pytest.mark.parametrize("text", ["", "0/minute", "-1/minute", "5", "5/fortnight", "5/minute;9/second", "five/minute"])
def test_another_rate_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidInput, match="--rate: is no rate; allowed: COUNT/second, COUNT/minute"):
        RateLimit.parse(text, where="--rate")


async def test_the_limit_is_reached_and_no_further(rates: Rates) -> None:
    answers = [await rates.hit("a") for _ in range(4)]

    assert [type(answer) for answer in answers] == [Allowed, Allowed, Limited, Limited]
    assert [answer.remaining for answer in answers] == [1, 0, 0, 0]
    assert all(0 < answer.reset_s <= 60 for answer in answers)


async def test_callers_do_not_share_a_count(rates: Rates) -> None:
    for _ in range(3):
        await rates.hit("a")

    assert isinstance(await rates.hit("b"), Allowed)


async def test_a_new_window_starts_from_nothing(clock: ManualClock) -> None:
    rates = Rates.open(TWO, clock=clock)
    for _ in range(3):
        await rates.hit("a")

    clock.advance(59.5)
    late = await rates.hit("a")
    clock.advance(0.5)

    assert isinstance(late, Limited)
    assert late.retry_after_s == 1
    assert isinstance(await rates.hit("a"), Allowed)


async def test_a_new_window_of_redis_starts_from_nothing(redis_url: str) -> None:
    rates = Rates.open(RateLimit.parse("1/second"), redis_url)
    answers = [await rates.hit("a") for _ in range(2)]
    opened = time.monotonic()
    while isinstance(answers[-1], Limited):
        await asyncio.sleep(0.02)
        answers.append(await rates.hit("a"))
    await rates.aclose()

    assert 0.5 < time.monotonic() - opened < 3.0


async def test_headers_say_how_a_caller_stands(clock: ManualClock) -> None:
    rates = Rates.open(TWO, clock=clock, name="routes")
    first = await rates.hit("a")
    clock.advance(20.2)
    answers = [await rates.hit("a") for _ in range(2)]

    assert first.headers == {"RateLimit-Policy": '"routes";q=2;w=60', "RateLimit": '"routes";r=1;t=60'}
    assert answers[1].headers == {
        "RateLimit-Policy": '"routes";q=2;w=60',
        "RateLimit": '"routes";r=0;t=40',
        "Retry-After": "40",
    }


async def test_replicas_share_one_count(redis_url: str) -> None:
    one, other = (Rates.open(TWO, redis_url) for _ in range(2))

    answers = [await replica.hit("a") for replica in (one, other, one, other)]

    assert [isinstance(answer, Allowed) for answer in answers] == [True, True, False, False]
    assert all(59 < answer.reset_s <= 60 for answer in answers)
    await one.aclose()
    await other.aclose()


async def test_limits_of_different_names_are_counted_apart(redis_url: str) -> None:
    one, other = (Rates.open(TWO, redis_url, name=name) for name in ("requests", "failures"))
    for _ in range(3):
        await one.hit("a")

    assert isinstance(await other.hit("a"), Allowed)
    await one.aclose()
    await other.aclose()


async def test_many_at_once_are_counted_exactly(rates: Rates) -> None:
    answers = await asyncio.gather(*(rates.hit("a") for _ in range(100)))

    assert sum(isinstance(answer, Allowed) for answer in answers) == 2


async def test_without_redis_everybody_is_allowed_and_it_is_told_once(mortal_redis: RedisServer) -> None:
    clock, sink = ManualClock(datetime.now(UTC)), Recorder()
    rates = Rates.open(TWO, mortal_redis.url, clock=clock, sink=sink)
    await rates.hit("a")
    mortal_redis.kill()

    lost = [await rates.hit("a") for _ in range(5)]
    clock.advance(windows.PAUSE_S)
    lost.append(await rates.hit("a"))

    assert all(isinstance(answer, Allowed) and not answer.counted for answer in lost)
    assert [name for name, _ in sink.events] == ["rates_lost"]
    mortal_redis.start()
    clock.advance(windows.PAUSE_S)
    assert (await rates.hit("a")).remaining == 0
    assert sink.events[-1] == ("rates_back", {"limit": "requests", "lost_s": 2 * windows.PAUSE_S, "uncounted": 6})
    await rates.aclose()


async def test_a_redis_that_hangs_holds_nobody_up(mortal_redis: RedisServer) -> None:
    rates = Rates.open(TWO, mortal_redis.url, sink=Recorder())
    await rates.hit("a")
    mortal_redis.freeze()

    started = time.monotonic()
    answers = [await rates.hit("a") for _ in range(50)]

    assert all(isinstance(answer, Allowed) for answer in answers)
    assert time.monotonic() - started < 3 * windows.PATIENCE_S
    await rates.aclose()


async def test_the_event_loop_goes_on_while_redis_hangs(mortal_redis: RedisServer) -> None:
    rates = Rates.open(TWO, mortal_redis.url, sink=Recorder())
    await rates.hit("a")
    mortal_redis.freeze()
    waiting = asyncio.ensure_future(rates.hit("a"))
    gaps, last = [], time.monotonic()

    while not waiting.done():
        await asyncio.sleep(0.01)
        gaps.append(time.monotonic() - last)
        last = time.monotonic()

    assert len(gaps) >= 5
    assert max(gaps) < windows.PATIENCE_S
    await rates.aclose()


def test_every_event_loop_has_connections_of_its_own(redis_url: str) -> None:
    rates = Rates.open(TWO, redis_url, sink=Recorder())
    kept: Any = rates._windows
    with asyncio.Runner() as one, asyncio.Runner() as other:
        first = one.run(rates.hit("a"))
        pool = kept._pool
        second = other.run(rates.hit("a"))
        one.run(pool.aclose())
        other.run(rates.aclose())

    assert (first.remaining, second.remaining, kept.uncounted) == (1, 0, 0)


async def test_counts_of_the_past_take_no_memory(clock: ManualClock) -> None:
    kept = windows.WindowsInMemory(60, clock=clock)
    for number in range(1000):
        await kept.count(str(number))
    clock.advance(60)
    await kept.count("a")

    assert len(kept._open) == 1


async def test_strangers_can_not_fill_the_memory(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MOST_KEYS", 10)
    kept = windows.WindowsInMemory(60, clock=clock)
    for number in range(1000):
        await kept.count(str(number))

    assert len(kept._open) == 10


@pytest.mark.parametrize(("module", "extra"), [("redis.asyncio", "redis"), ("limits.aio.storage", "service")])
def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch, module: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtra, match=rf"crew-moe\[{extra}\]"):
        Rates.open(TWO, "redis://127.0.0.1:1/0")
    assert Rates.open(TWO).limit == TWO


async def test_a_check_in_memory_costs_microseconds() -> None:
    rates = Rates.open(RateLimit.parse("600/minute"))
    started = time.thread_time()
    for _ in range(2000):
        await rates.hit("a")

    assert (time.thread_time() - started) / 2000 < 30e-6


def test_a_caller_is_a_subject_of_a_tenant() -> None:
    keys = [
        caller_key(_caller("a", "b"), "1.2.3.4"),
        caller_key(_caller("a", "c"), "1.2.3.4"),
        caller_key(_caller("b", "b"), "1.2.3.4"),
        caller_key(_caller("c:d", "e"), "1.2.3.4"),
        caller_key(_caller("d", "e:c"), "1.2.3.4"),
        caller_key(_caller("a", None), "1.2.3.4"),
        caller_key(LOCAL, "1.2.3.4"),
        caller_key(LOCAL, "1.2.3.5"),
    ]

    assert len(set(keys)) == len(keys)
    assert caller_key(_caller("a", "b"), "9.9.9.9") == keys[0]


@given(st.text(), st.text(), st.text(), st.text())
def test_two_callers_never_share_a_key(tenant: str, subject: str, other_tenant: str, other_subject: str) -> None:
    same = caller_key(_caller(subject, tenant), None) == caller_key(_caller(other_subject, other_tenant), None)

    assert same is ((tenant, subject) == (other_tenant, other_subject))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("192.0.2.1", "192.0.2.2", False),
        (None, "no address", True),
    ],
)
def test_an_address_is_what_its_network_gave(one: str | None, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same
