"""What every Meters does, in memory, on disk or on a server: taking and giving back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from crew_moe.domain.meter import MAX_KEY, MeterStatus, Passage
from crew_moe.errors import InvalidInput
from crew_moe.ports import Meters
from tests.contracts.metered import KEY, OTHER, USER, ask, at_once, level, meters, passed, per_minute, refused, take
from tests.state.given import NOW, later

__all__ = ["meters"]  # a fixture


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
        lambda meters: meters.tell("", [], NOW),
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
