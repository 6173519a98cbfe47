"""What every Meters makes of words and clocks: a provider's figures, closures, who is busy, time that goes wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

from crew_moe.domain.meter import Demand, Rate, Told
from crew_moe.ports import Meters
from tests.contracts.metered import KEY, OTHER, USER, ask, level, meters, passed, per_minute, refused, take
from tests.state.given import NOW, later

__all__ = ["meters"]  # a fixture


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
