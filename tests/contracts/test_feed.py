"""What every live feed does, in one process or over a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crew_moe.domain.feed import EVERYONE, Cursor, Ended, FeedEvent, FeedKind, cursor_of
from crew_moe.errors import InvalidRequest, StateError
from crew_moe.ports import Feed, Subscription
from crew_moe.state.memory.feed import MemoryFeed
from crew_moe.state.redis.feed import RedisFeed

KEPT = 500
PATIENCE_S = 10.0

OpenFeed = Callable[[], Feed]


@pytest.fixture(params=["memory", "redis"])
def open_feed(request: pytest.FixtureRequest) -> Iterator[OpenFeed]:
    """Opens the feed: in memory there is one, over a server each is another replica's."""
    made: list[Feed] = []

    def opened() -> Feed:
        if request.param == "redis":
            made.append(RedisFeed(redis_url, capacity=KEPT))
        elif not made:
            made.append(MemoryFeed(capacity=KEPT))
        return made[-1]

    redis_url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    yield opened
    for feed in made:
        feed.close()


@pytest.fixture
def feed(open_feed: OpenFeed) -> Feed:
    return open_feed()


def told(*numbers: int) -> list[FeedEvent]:
    return [FeedEvent(FeedKind.DECISION, EVERYONE, {"n": number}) for number in numbers]


async def taken(reader: Subscription, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(PATIENCE_S):
        events = aiter(reader)
        return [json.loads((await anext(events)).frame) for _ in range(count)]


async def numbers(reader: Subscription, count: int) -> list[int]:
    return [event["n"] for event in await taken(reader, count)]


async def test_reader_gets_what_is_published_from_now_on_in_order(feed: Feed) -> None:
    reader = await feed.subscribe()
    feed.publish(told(1, 2))
    feed.publish(told(3))

    assert await numbers(reader, 3) == [1, 2, 3]


async def test_event_has_its_cursor_and_its_kind(feed: Feed) -> None:
    reader = await feed.subscribe()
    feed.publish(told(1))
    (event,) = await taken(reader, 1)

    assert event == {"cursor": str(reader.cursor), "kind": "decision", "n": 1}


async def test_cursors_rise_by_one(feed: Feed) -> None:
    reader = await feed.subscribe()
    feed.publish(told(*range(50)))
    cursors = [cursor_of(event["cursor"]) for event in await taken(reader, 50)]

    assert cursors == [Cursor(cursors[0].epoch, cursors[0].number + step) for step in range(50)]


async def test_every_reader_gets_everything(feed: Feed) -> None:
    readers = [await feed.subscribe() for _ in range(3)]
    feed.publish(told(1, 2))

    assert [await numbers(reader, 2) for reader in readers] == [[1, 2]] * 3
    assert feed.readers == 3


async def test_reader_comes_back_to_its_cursor(feed: Feed) -> None:
    reader = await feed.subscribe()
    feed.publish(told(1, 2, 3))
    first = (await taken(reader, 1))[0]
    await taken(reader, 2)
    again = await feed.subscribe(first["cursor"])
    feed.publish(told(4))

    assert await numbers(again, 3) == [2, 3, 4]


async def test_reader_that_missed_too_much_hears_how_much(feed: Feed) -> None:
    reader = await feed.subscribe()
    start = str(reader.cursor)
    for batch in range(4):  # within what the reader can follow
        feed.publish(told(*range(batch * 300, batch * 300 + 300)))
        await taken(reader, 300)
    again = await feed.subscribe(start)
    gap, first = await taken(again, 2)

    assert (gap["kind"], gap["lost"]) == ("gap", first["n"])
    assert 1200 - 2 * KEPT <= gap["lost"] <= 1200 - KEPT


async def test_cursor_of_another_feed_is_a_gap_of_unknown_size(feed: Feed) -> None:
    reader = await feed.subscribe()
    feed.publish(told(1))
    await taken(reader, 1)
    stranger = await feed.subscribe("1700000000000-7")
    gap, first = await taken(stranger, 2)

    assert (gap["kind"], gap["lost"], first["n"]) == ("gap", None, 1)


@pytest.mark.parametrize("cursor", ["", "7", "latest", "1-2-3", "-1-2", "1-99999999999999999999"])
async def test_what_is_no_cursor_is_refused(feed: Feed, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        await feed.subscribe(cursor)


async def test_cursor_that_nobody_gave_is_refused(feed: Feed) -> None:
    reader = await feed.subscribe()
    ahead = Cursor(reader.cursor.epoch, reader.cursor.number + 5)

    with pytest.raises(InvalidRequest, match="ahead"):
        await feed.subscribe(str(ahead))


async def test_slow_reader_is_ended_and_holds_up_nobody(feed: Feed) -> None:
    slow, quick = await feed.subscribe(), await feed.subscribe()
    for batch in range(4):
        feed.publish(told(*range(batch * 300, batch * 300 + 300)))
        assert len(await taken(quick, 300)) == 300

    assert [event async for event in slow] == []
    assert (slow.ended, quick.ended) == (Ended.SLOW, None)
    assert feed.readers == 1


async def test_reader_that_leaves_is_forgotten(feed: Feed) -> None:
    reader = await feed.subscribe()
    reader.close()

    assert [event async for event in reader] == []
    assert (reader.ended, feed.readers) == (None, 0)


async def test_closing_ends_those_who_wait(feed: Feed) -> None:
    reader = await feed.subscribe()
    waiting = asyncio.create_task(numbers(reader, 1))
    await asyncio.sleep(0)
    await asyncio.to_thread(feed.close)

    with pytest.raises(StopAsyncIteration):
        await waiting
    assert reader.ended is Ended.CLOSED


async def test_closed_feed_takes_what_is_published_and_no_readers(feed: Feed) -> None:
    feed.publish(told(1))
    feed.close()
    feed.publish(told(2))
    feed.close()

    with pytest.raises(StateError, match="closed"):
        await feed.subscribe()


async def test_threads_publish_at_once_and_lose_nothing(feed: Feed) -> None:
    reader = await feed.subscribe()
    await asyncio.gather(*(asyncio.to_thread(feed.publish, told(number)) for number in range(100)))

    assert sorted(await numbers(reader, 100)) == list(range(100))


async def test_cursor_holds_on_every_replica(open_feed: OpenFeed) -> None:
    one, other = open_feed(), open_feed()
    reader = await one.subscribe()
    other.publish(told(1, 2, 3))
    events = await taken(reader, 3)
    moved = await other.subscribe(events[0]["cursor"])

    assert [event["n"] for event in events] == [1, 2, 3]
    assert await taken(moved, 2) == events[1:]
