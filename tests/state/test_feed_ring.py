"""The ring under every feed, where what is read anew and what is at hand overlap."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.feed import EVERYONE, Cursor, Delivery, FeedKind
from crew_moe.state.feed import Ring, Subscription

EPOCH = 7


def deliveries(numbers: Iterable[int]) -> list[Delivery]:
    return [Delivery(Cursor(EPOCH, number), FeedKind.DECISION, EVERYONE, {"n": number}) for number in numbers]


async def test_what_was_read_anew_is_not_told_twice() -> None:
    ring = Ring(Cursor(EPOCH, 0))
    ring.append(deliveries(range(1, 6)))
    reader = Subscription(ring, seen=Cursor(EPOCH, 1), place=2, backlog=deliveries(range(2, 5)))

    assert [(await anext(reader)).cursor.number for _ in range(4)] == [2, 3, 4, 5]


async def test_hole_between_what_was_read_anew_and_what_is_at_hand_is_told() -> None:
    ring = Ring(Cursor(EPOCH, 5))
    ring.append(deliveries([9]))
    reader = Subscription(ring, seen=Cursor(EPOCH, 1), place=0, backlog=deliveries([2]))
    told = [await anext(reader) for _ in range(3)]

    assert [one.kind for one in told] == ["decision", "gap", "decision"]
    assert '"lost": 6' in told[1].frame


@given(count=st.integers(0, 50), capacity=st.integers(1, 20), seen=st.integers(0, 60))
def test_place_after_a_cursor_is_the_first_later_one_that_is_kept(count: int, capacity: int, seen: int) -> None:
    ring = Ring(Cursor(EPOCH, 0), capacity=capacity)
    ring.append(deliveries(range(1, count + 1)))
    found = ring.after(ring.place_after(Cursor(EPOCH, seen)))

    assert found is not None
    kept = range(max(0, count - capacity) + 1, count + 1)
    assert [one.cursor.number for one in found] == [number for number in kept if number > seen]
