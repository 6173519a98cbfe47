"""Who goes next: the rules one by one, and what holds for every line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import BatchSpec
from crew_moe.local_gate.engine.queueing import AGEING_S, Line, Place

SPEC = BatchSpec(max_size=4, max_tokens=2_000)
NEVER = 1e9


def place(
    number: int, *, tier: Tier = Tier.BASELINE, tokens: int = 10, since: float = 0.0, deadline: float = NEVER
) -> Place:
    return Place(number=number, kind="process", tier=tier, tokens=tokens, since=since, deadline=deadline)


def line_of(*places: Place) -> Line:
    line = Line()
    for one in places:
        line.put(one)
    return line


def numbers(places: Sequence[Place]) -> list[int]:
    return [one.number for one in places]


def test_batch_is_no_larger_than_its_size() -> None:
    batch = line_of(*(place(number) for number in range(6))).next(0.0, SPEC)

    assert (numbers(batch.places), batch.full) == ([0, 1, 2, 3], True)


def test_every_member_counts_as_long_as_the_longest() -> None:
    batch = line_of(place(0, tokens=600), place(1, tokens=900), place(2, tokens=600)).next(0.0, SPEC)

    assert (numbers(batch.places), batch.full) == ([0, 1], True)


def test_text_over_the_budget_goes_alone() -> None:
    batch = line_of(place(0, tokens=5_000), place(1, tokens=5_000)).next(0.0, SPEC)

    assert (numbers(batch.places), batch.full) == ([0], True)


def test_texts_of_other_lengths_wait() -> None:
    batch = line_of(place(0, tokens=70), place(1, tokens=600), place(2, tokens=100)).next(0.0, SPEC)

    assert (numbers(batch.places), batch.full) == ([0, 2], False)


def test_premium_goes_before_what_came_earlier() -> None:
    line = line_of(place(0, tier=Tier.FAST), place(1), place(2, tier=Tier.PREMIUM))

    assert numbers(line.next(0.5, SPEC).places) == [2, 1, 0]


def test_long_wait_lifts_a_call_above_newer_ones_of_a_higher_tier() -> None:
    late = 2 * AGEING_S
    line = line_of(place(0, tier=Tier.FAST), place(1, tier=Tier.PREMIUM, since=late))

    assert numbers(line.next(late, SPEC).places) == [0, 1]


def test_of_those_who_waited_long_the_nearest_deadline_leads() -> None:
    line = line_of(place(0, tokens=10, deadline=50.0), place(1, tokens=900, deadline=20.0))

    assert numbers(line.next(0.5, SPEC).places) == [0]
    assert numbers(line.next(AGEING_S, SPEC).places) == [1]


def test_call_whose_deadline_is_over_is_late_and_not_in_the_batch() -> None:
    batch = line_of(place(0, deadline=1.0), place(1)).next(1.0, SPEC)

    assert (numbers(batch.late), numbers(batch.places)) == ([0], [1])


def test_call_that_leaves_is_in_no_batch() -> None:
    line = line_of(place(0), place(1))

    assert (line.remove(0), line.remove(0)) == (True, False)
    assert numbers(line.next(0.0, SPEC).places) == [1]


def test_calls_of_higher_or_equal_tiers_are_before_a_new_one() -> None:
    line = line_of(place(0, tier=Tier.PREMIUM, tokens=7), place(1, tokens=5), place(2, tier=Tier.FAST, tokens=3))

    assert [line.before(tier) for tier in (Tier.PREMIUM, Tier.BASELINE, Tier.FAST)] == [(1, 7), (2, 12), (3, 15)]


PLACES = st.lists(
    st.tuples(st.sampled_from(Tier), st.integers(1, 3_000), st.floats(0, 5), st.floats(0.1, 9), st.booleans()),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(drawn=PLACES, size=st.integers(1, 8), tokens=st.integers(1, 4_000), now=st.floats(0, 6))
def test_every_call_leaves_once_in_order_and_no_batch_is_too_large(
    drawn: list[tuple[Tier, int, float, float, bool]], size: int, tokens: int, now: float
) -> None:
    spec = BatchSpec(max_size=size, max_tokens=tokens)
    places = [
        Place(number=n, kind="embed" if embeds else "process", tier=tier, tokens=t, since=s, deadline=s + left)
        for n, (tier, t, s, left, embeds) in enumerate(drawn)
    ]
    line, gone = line_of(*places), []
    while len(line):
        batch = line.next(now, spec)
        members = batch.places
        assert batch.places or batch.late
        assert len(members) <= size
        assert len(members) <= 1 or len(members) * max(one.tokens for one in members) <= tokens
        assert len({one.bucket for one in members}) <= 1
        assert all(one.deadline <= now for one in batch.late)
        line.take(batch)
        gone += sorted((*batch.late, *members), key=lambda one: one.number)

    assert sorted(numbers(gone)) == numbers(places)
    assert line.before(Tier.FAST) == (0, 0)
    for alike in {(one.bucket, one.tier) for one in places}:
        served = [one for one in gone if (one.bucket, one.tier) == alike]
        assert all(before.number < after.number for before, after in pairwise(served))
