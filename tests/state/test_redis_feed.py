"""The live feed when its server is lost, and what it keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from crew_moe.domain.feed import EVERYONE, FeedEvent, FeedKind
from crew_moe.errors import StateError
from crew_moe.ports import Subscription
from crew_moe.state.redis.feed import EVENTS, OUTBOX, RedisFeed
from tests.redis_server import RedisServer
from tests.waiting import until


@pytest.fixture
def feed(mortal_redis: RedisServer) -> Iterator[RedisFeed]:
    opened = RedisFeed(mortal_redis.url, capacity=300)
    yield opened
    opened.close()


def told(*numbers: int) -> list[FeedEvent]:
    return [FeedEvent(FeedKind.DECISION, EVERYONE, {"n": number}) for number in numbers]


async def taken(reader: Subscription, count: int) -> list[int]:
    async with asyncio.timeout(20):
        events = aiter(reader)
        return [json.loads((await anext(events)).frame)["n"] for _ in range(count)]


async def test_lost_server_costs_events_and_nothing_else(feed: RedisFeed, mortal_redis: RedisServer) -> None:
    reader = await feed.subscribe()
    feed.publish(told(1))
    assert await taken(reader, 1) == [1]
    mortal_redis.kill()
    feed.publish(told(2))
    await asyncio.to_thread(until, lambda: feed.dropped == 1)
    await asyncio.to_thread(mortal_redis.start)
    feed.publish(told(3))

    assert await taken(reader, 1) == [3]


async def test_nobody_can_join_while_the_server_is_lost(feed: RedisFeed, mortal_redis: RedisServer) -> None:
    mortal_redis.kill()

    with pytest.raises(StateError):
        await feed.subscribe()


def test_queue_is_bounded_while_the_server_hangs(feed: RedisFeed, mortal_redis: RedisServer) -> None:
    mortal_redis.freeze()
    for _ in range(3):
        feed.publish(told(*range(OUTBOX)))
    mortal_redis.thaw()

    assert feed.dropped >= OUTBOX


def test_stream_holds_about_what_it_should(feed: RedisFeed, mortal_redis: RedisServer) -> None:
    feed.publish(told(*range(5000)))
    feed.close()

    assert 300 <= int(mortal_redis.ask("XLEN", EVENTS).removeprefix(":")) <= 500


def test_what_is_queued_at_the_end_is_sent(feed: RedisFeed, mortal_redis: RedisServer) -> None:
    feed.publish(told(1, 2, 3))
    feed.close()

    assert mortal_redis.ask("XLEN", EVENTS) == ":3"
