"""What every Meters does, in memory, on disk or on a server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from crew_moe.domain.meter import MAX_KEY, Busy, Demand, MeterStatus, Passage, Rate, Told
from crew_moe.errors import InvalidInput
from crew_moe.ports import Meters
from crew_moe.state import open_meters
from tests.state.given import NOW, later

KEY = "expert:gpt-4o"
OTHER = "expert:o1"
USER = "cooldown:ask:user:7"
THREADS = 8


@pytest.fixture(params=["memory", "sqlite", "redis"])
def meters(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Meters]:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    opened = open_meters(here.get(request.param) or request.getfixturevalue("redis_url"))
    yield opened
    opened.close()


def per_minute(capacity: float, amount: float = 1.0, name: str = "requests") -> Rate:
    return Rate(name=name, capacity=capacity, per_s=60.0, amount=amount)


def ask(*rates: Rate, key: str = KEY, places: int | None = None) -> Demand:
    return Demand(key=key, rates=rates, concurrent=places)


def passed(answer: Passage | Busy) -> Passage:
    assert isinstance(answer, Passage), answer
    return answer


def take(meters: Meters, *demands: Demand, at: datetime = NOW) -> Passage:
    """A passage, where one is expected."""
    return passed(meters.take(demands, at))


def refused(meters: Meters, *demands: Demand, at: datetime = NOW) -> tuple[str, str, datetime]:
    """Meter, rate and end, where the call is expected not to pass."""
    answer = meters.take(demands, at)
    assert isinstance(answer, Busy), answer
    return answer.key, answer.rate, answer.until


def level(meters: Meters, at: datetime = NOW, *, key: str = KEY, rate: str = "requests") -> float | None:
    """What a rate holds; None: it is full."""
    return meters.status(key, at).levels.get(rate)


def at_once(work: Callable[[int], object], times: int) -> list[object]:
    """In threads that interrupt each other as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(work, range(times)))
    finally:
        sys.setswitchinterval(usual)


def test_unknown_meter_is_full_open_and_empty(meters: Meters) -> None:
    assert meters.status(KEY, NOW) == MeterStatus(key=KEY)
    assert meters.busy(NOW, kind="expert") == {}


def test_as_much_passes_at_once_as_the_capacity_says(meters: Meters) -> None:
    demand = ask(per_minute(7))

    for _ in range(7):
        take(meters, demand)

    assert refused(meters, demand) == (KEY, "requests", later(microseconds=8_571_429))  # a seventh of a minute


def test_room_is_there_at_the_moment_that_was_said_and_not_before(meters: Meters) -> None:
    demand = ask(per_minute(7))
    for _ in range(7):
        take(meters, demand)
    _, _, until = refused(meters, demand)

    assert refused(meters, demand, at=until - timedelta(microseconds=1))[2] == until
    take(meters, demand, at=until)


def test_rate_refills_evenly_up_to_its_capacity(meters: Meters) -> None:
    take(meters, ask(per_minute(10, 8.0)))

    assert level(meters) == 2.0
    assert level(meters, later(seconds=6)) == 3.0
    assert level(meters, later(seconds=47)) == pytest.approx(9.8333333)
    assert level(meters, later(seconds=48)) is None


def test_demand_beyond_the_capacity_passes_when_full_and_is_paid_back(meters: Meters) -> None:
    huge = ask(per_minute(10, 25.0))
    take(meters, huge)

    assert level(meters) == -15.0
    assert refused(meters, ask(per_minute(10)))[2] == later(seconds=96)
    assert refused(meters, huge, at=later(seconds=149))[2] == later(seconds=150)
    take(meters, huge, at=later(seconds=150))


def test_amount_of_nothing_waits_only_while_the_level_is_below_zero(meters: Meters) -> None:
    nothing = ask(per_minute(10, 0.0))
    take(meters, ask(per_minute(10, 10.0)))
    take(meters, nothing)
    take(meters, ask(per_minute(10, 11.0)), at=later(seconds=60))

    assert refused(meters, nothing, at=later(seconds=60))[2] == later(seconds=66)


def test_all_meters_give_or_none(meters: Meters) -> None:
    take(meters, ask(per_minute(1), key=USER))

    answer = refused(meters, ask(per_minute(10, 4.0), places=1), ask(per_minute(1), key=USER))

    assert answer == (USER, "requests", later(seconds=60))
    assert meters.status(KEY, NOW) == MeterStatus(key=KEY)


def test_first_demand_without_room_is_named_and_in_it_the_first_rate(meters: Meters) -> None:
    tokens = per_minute(100, 100.0, name="tokens")
    take(meters, ask(per_minute(1), tokens), ask(per_minute(1), key=OTHER))

    assert refused(meters, ask(per_minute(1), key=OTHER), ask(per_minute(1)))[:2] == (OTHER, "requests")
    assert refused(meters, ask(tokens, per_minute(1)))[:2] == (KEY, "tokens")


def test_places_are_free_when_given_back_or_when_their_lease_ends(meters: Meters) -> None:
    demand = ask(places=2)
    first = passed(meters.take([demand], NOW, lease_s=20.0))
    passed(meters.take([demand], NOW, lease_s=10.0))

    assert refused(meters, demand) == (KEY, "concurrent", later(seconds=10))
    assert meters.status(KEY, NOW).in_use == 2
    meters.give_back(first.id, NOW)
    passed(meters.take([demand], NOW, lease_s=30.0))
    assert refused(meters, demand, at=later(seconds=9))[2] == later(seconds=10)
    take(meters, demand, at=later(seconds=10))


def test_fewer_places_than_are_taken_wait_for_as_many_leases(meters: Meters) -> None:
    for lease_s in (10.0, 20.0, 30.0):
        passed(meters.take([ask(places=3)], NOW, lease_s=lease_s))

    assert refused(meters, ask(places=2))[2] == later(seconds=20)
    take(meters, ask(places=4))
    take(meters, ask())


def test_what_was_not_used_returns_and_what_was_more_is_taken(meters: Meters) -> None:
    tokens = per_minute(100, 50.0, name="tokens")
    one, two = take(meters, ask(tokens)), take(meters, ask(tokens))

    meters.give_back(one.id, NOW, used={"tokens": 10.0, "unknown": 3.0})
    assert level(meters, rate="tokens") == 40.0
    meters.give_back(two.id, NOW, used={"tokens": 110.0})
    assert level(meters, rate="tokens") == -20.0


def test_passage_is_given_back_once(meters: Meters) -> None:
    passage = take(meters, ask(per_minute(10, 5.0), places=1))

    for _ in range(2):
        meters.give_back(passage.id, NOW, used={"requests": 1.0})
    take(meters, ask(places=1))
    meters.give_back(passage.id, NOW, used={"requests": 100.0})

    assert level(meters) == 9.0
    assert meters.status(KEY, NOW).in_use == 1


@pytest.mark.parametrize("name", ["", "nobody's", "*", "a b\r\nDEL x", "\0", "\ud800", "x" * 100_000])
def test_unknown_passage_is_left_alone(meters: Meters, name: str) -> None:
    take(meters, ask(places=1))

    meters.give_back(name, NOW)

    assert meters.status(KEY, NOW).in_use == 1


def test_ended_passage_is_left_alone(meters: Meters) -> None:
    passage = passed(meters.take([ask(per_minute(10, 5.0), places=1)], NOW, lease_s=10.0))
    take(meters, ask(places=1), at=later(seconds=10))

    meters.give_back(passage.id, later(seconds=10), used={"requests": 0.0})

    assert level(meters, later(seconds=12)) == 7.0
    assert meters.status(KEY, later(seconds=12)).in_use == 1


def test_nothing_returns_beyond_the_capacity(meters: Meters) -> None:
    passage = take(meters, ask(per_minute(10, 5.0)))

    meters.give_back(passage.id, later(seconds=29), used={"requests": 0.0})

    assert level(meters, later(seconds=29)) is None
    take(meters, ask(per_minute(10, 10.0)), at=later(seconds=29))
    assert level(meters, later(seconds=29)) == 0.0


def told(remaining: float | None = None, capacity: float | None = None, resets_at: datetime | None = None) -> Told:
    return Told(rate="requests", remaining=remaining, capacity=capacity, resets_at=resets_at)


def test_provider_lowers_the_level_but_never_raises_it(meters: Meters) -> None:
    take(meters, ask(per_minute(10)))

    meters.tell(KEY, [told(4.0)], NOW)
    assert level(meters) == 4.0
    meters.tell(KEY, [told(9.0)], NOW)
    assert level(meters) == 4.0


def test_capacity_that_the_provider_tells_is_adopted_until_demands_change(meters: Meters) -> None:
    take(meters, ask(per_minute(10)))
    meters.tell(KEY, [told(3.0, capacity=4.0)], NOW)

    assert level(meters) == 3.0
    take(meters, ask(per_minute(10, 3.0)))
    assert refused(meters, ask(per_minute(10)))[2] == later(seconds=15)
    take(meters, ask(per_minute(20)))
    assert level(meters) == 15.0


def test_adopted_capacity_is_remembered_for_a_day(meters: Meters) -> None:
    demand = ask(per_minute(10, 5.0))
    take(meters, demand)
    meters.tell(KEY, [told(capacity=5.0)], NOW)
    take(meters, demand, at=later(hours=24))

    assert level(meters, later(hours=24)) == 0.0
    take(meters, demand, at=later(hours=49))
    assert level(meters, later(hours=49)) == 5.0


def test_provider_may_speak_of_a_rate_that_nobody_asked_for(meters: Meters) -> None:
    meters.tell(KEY, [told(0.0), Told(rate="tokens", remaining=10.0, capacity=40.0)], NOW)

    assert meters.status(KEY, NOW).levels == {"tokens": 10.0}
    assert refused(meters, ask(per_minute(90, 20.0, name="tokens")))[2] == later(seconds=15)


def test_nothing_left_closes_until_the_reset_that_was_told(meters: Meters) -> None:
    take(meters, ask(per_minute(10)))

    meters.tell(KEY, [told(1.0, resets_at=later(seconds=50))], NOW)
    take(meters, ask(per_minute(10)))
    meters.tell(KEY, [told(0.0, resets_at=later(seconds=40))], NOW)

    assert refused(meters, ask(), at=later(seconds=39)) == (KEY, "requests", later(seconds=40))
    take(meters, ask(), at=later(seconds=40))


def test_closed_meter_opens_at_its_end_which_is_never_shortened(meters: Meters) -> None:
    meters.close_until(KEY, later(seconds=30), NOW)
    meters.close_until(KEY, later(seconds=10), NOW)
    meters.close_until(OTHER, later(seconds=-1), NOW)

    assert refused(meters, ask()) == (KEY, "closed", later(seconds=30))
    assert meters.busy(NOW, kind="expert") == {KEY: later(seconds=30)}
    take(meters, ask(), at=later(seconds=30))


def test_no_word_of_a_provider_closes_for_more_than_a_day(meters: Meters) -> None:
    meters.close_until(KEY, later(days=365), NOW)
    meters.tell(OTHER, [told(0.0, capacity=10.0, resets_at=later(days=365))], NOW)

    assert meters.busy(NOW, kind="expert") == {KEY: later(days=1), OTHER: later(days=1)}


def test_busy_names_what_not_even_one_unit_can_pass_and_until_when(meters: Meters) -> None:
    take(meters, ask(per_minute(10, 9.5), per_minute(100, 20.0, name="tokens")), ask(per_minute(9, 7.0), key=OTHER))
    take(meters, ask(per_minute(1), key=USER))
    passed(meters.take([ask(places=1, key="provider:x")], NOW, lease_s=5.0))

    assert meters.busy(NOW, kind="expert") == {KEY: later(seconds=3)}
    assert meters.busy(NOW, kind="cooldown") == {USER: later(seconds=60)}
    assert meters.busy(NOW, kind="provider") == {"provider:x": later(seconds=5)}
    assert meters.busy(later(seconds=3), kind="expert") == {}
    assert meters.busy(NOW, kind="exp") == {}


def test_busy_meter_with_several_reasons_waits_for_the_last(meters: Meters) -> None:
    passed(meters.take([ask(per_minute(10, 10.0), places=1)], NOW, lease_s=4.0))

    assert meters.status(KEY, NOW).until == later(seconds=6)
    meters.close_until(KEY, later(seconds=9), NOW)
    assert meters.busy(NOW, kind="expert") == {KEY: later(seconds=9)}


def test_place_given_back_ends_being_busy(meters: Meters) -> None:
    passage = take(meters, ask(places=1))
    assert list(meters.busy(NOW, kind="expert")) == [KEY]

    meters.give_back(passage.id, NOW)

    assert meters.busy(NOW, kind="expert") == {}


def test_clock_that_goes_back_gives_nothing_twice(meters: Meters) -> None:
    demand = ask(per_minute(10, 10.0))
    take(meters, demand, at=later(seconds=60))

    assert refused(meters, demand, at=NOW)[2] == later(seconds=120)
    assert (level(meters, NOW), level(meters, later(seconds=66))) == (0.0, 1.0)
    assert refused(meters, demand, at=later(seconds=119))[2] == later(seconds=120)


def _shut_by_a_wrong_clock(meters: Meters, demand: Demand) -> None:
    ahead = later(days=400)
    passed(meters.take([demand], ahead, lease_s=20.0))
    meters.close_until(KEY, ahead + timedelta(seconds=30), ahead)


def test_wrong_clock_of_long_ahead_does_not_keep_a_meter_shut(meters: Meters) -> None:
    demand = ask(per_minute(10, 10.0), places=1)
    _shut_by_a_wrong_clock(meters, demand)

    assert refused(meters, demand) == (KEY, "closed", later(seconds=30))
    assert refused(meters, demand, at=later(seconds=30)) == (KEY, "requests", later(seconds=60))
    take(meters, demand, at=later(seconds=60))


def test_who_only_looks_sees_such_a_meter_open_too(meters: Meters) -> None:
    _shut_by_a_wrong_clock(meters, ask(per_minute(10, 10.0), places=1))

    assert meters.busy(NOW, kind="expert") == {KEY: later(seconds=30)}
    assert meters.busy(later(seconds=29), kind="expert") == {KEY: later(seconds=30)}
    assert meters.status(KEY, later(seconds=29)).in_use == 0
    assert meters.busy(later(seconds=30), kind="expert") == {}


def test_change_of_the_demands_keeps_what_was_taken(meters: Meters) -> None:
    take(meters, ask(per_minute(10, 6.0)))
    take(meters, ask(per_minute(20, 0.0)))
    assert level(meters) == 14.0

    take(meters, ask(Rate(name="requests", capacity=20, per_s=6.0, amount=0.0)))
    assert level(meters) == 14.0
    take(meters, ask(per_minute(4, 0.0)))
    assert level(meters) == 0.0


@pytest.mark.parametrize(
    "key",
    [
        "no-kind",
        "expert:*",
        "user:{other}:x",
        "user:a b\r\nFLUSHALL\r\n",
        "user:\0",
        "user:\ud800 alone",
        "user:'); DROP TABLE meters; --",
        "user:=#",
        "user:" + "ж" * (MAX_KEY - 5),
    ],
)
def test_any_text_of_fair_length_is_a_key(meters: Meters, key: str) -> None:
    take(meters, ask(per_minute(1), key=key, places=1))

    assert refused(meters, ask(per_minute(1), key=key))[0] == key
    assert meters.busy(NOW, kind=key.partition(":")[0]) == {key: later(seconds=600)}
    assert meters.status(key + "'" if len(key) < MAX_KEY else key[:-1], NOW).in_use == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda meters: meters.take([ask(), ask()], NOW),
        lambda meters: meters.take([ask()], NOW, lease_s=0.0),
        lambda meters: meters.take([ask()], NOW, lease_s=float("nan")),
        lambda meters: meters.take([ask()], NOW, lease_s=86_401.0),
        lambda meters: meters.give_back("any", NOW, used={"requests": float("nan")}),
        lambda meters: meters.give_back("any", NOW, used={"requests": -1.0}),
        lambda meters: meters.tell("", [told(1.0)], NOW),
        lambda meters: meters.close_until("x" * 501, NOW, NOW),
        lambda meters: meters.status("", NOW),
    ],
)
def test_wrong_input_is_refused(meters: Meters, wrong: Callable[[Meters], object]) -> None:
    with pytest.raises(InvalidInput):
        wrong(meters)

    assert meters.busy(NOW, kind="expert") == {}


def test_huge_use_closes_for_a_year_at_most(meters: Meters) -> None:
    passage = take(meters, ask(per_minute(1e-9)))

    meters.give_back(passage.id, NOW, used={"requests": 1e15})

    assert later(days=365) < meters.busy(NOW, kind="expert")[KEY] < later(days=367)


def test_threads_take_no_more_than_there_is(meters: Meters) -> None:
    demands = (ask(per_minute(300), places=200), ask(per_minute(1_000), key=OTHER))

    answers = at_once(lambda _: meters.take(demands, NOW), 600)

    assert sum(isinstance(answer, Passage) for answer in answers) == 200
    assert (level(meters), level(meters, key=OTHER)) == (100.0, 800.0)


def test_threads_give_back_each_passage_once(meters: Meters) -> None:
    demand = ask(per_minute(1_000, 10.0), places=50)
    passages = [take(meters, demand) for _ in range(50)]

    at_once(lambda n: meters.give_back(passages[n // 8].id, NOW, used={"requests": 1.0}), 400)

    assert (level(meters), meters.status(KEY, NOW).in_use) == (950.0, 0)


def test_close_may_be_called_twice(meters: Meters) -> None:
    meters.close()
    meters.close()
