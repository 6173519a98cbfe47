"""How the WebSocket ends connections: those that say nothing, that may no longer listen, or that are too slow."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from websockets.exceptions import InvalidStatus

from crew_moe.auth.authenticator import Authenticator
from crew_moe.domain.feed import EVERYONE, FeedEvent, FeedKind
from crew_moe.ports import Feed
from crew_moe.service.conversation import Code
from crew_moe.service.stream import RoutingStream
from crew_moe.state.memory.feed import MemoryFeed
from tests.auth.issuing import authenticator, bearer, clock_now, token
from tests.service.running import listening, running
from tests.service.talking import ended, heard, talking
from tests.waiting import until

NO_GOODBYE = 0
SERVICE_RESTART = 1012  # said by the web server itself


@contextmanager
def streaming(feed: Feed, who: Authenticator | None = None, **options: Any) -> Iterator[tuple[str, RoutingStream]]:
    """The endpoint alone, on a socket; (its address, itself)."""
    stream, app = RoutingStream(feed, who, **options), FastAPI()
    app.add_api_websocket_route("/ws/routing", stream)
    with listening(app) as url:
        yield url, stream


@pytest.fixture
def feed() -> Iterator[MemoryFeed]:
    made = MemoryFeed(capacity=1000)
    yield made
    made.close()


def large(count: int) -> list[FeedEvent]:
    return [
        FeedEvent(FeedKind.DECISION, EVERYONE, {"n": number, "filler": os.urandom(10_000).hex()})
        for number in range(count)
    ]


def test_client_that_does_not_say_who_it_is(feed: MemoryFeed, tmp_path: Path) -> None:
    with streaming(feed, authenticator(tmp_path), first_message_s=0.05) as (url, _), talking(url) as client:
        assert ended(client) == Code.UNAUTHORIZED


def test_idle_client_hears_that_all_is_well(feed: MemoryFeed) -> None:
    with streaming(feed, heartbeat_s=0.05) as (url, _), talking(url) as client:
        ready = heard(client, "ready")

        assert heard(client)["kind"] == "heartbeat"
        assert heard(client, "heartbeat")["cursor"] == ready["cursor"]


def test_token_that_expires_meanwhile(feed: MemoryFeed, tmp_path: Path) -> None:
    clock = clock_now()
    with (
        streaming(feed, authenticator(tmp_path, clock=clock), heartbeat_s=0.05) as (url, _),
        talking(url, additional_headers={"Authorization": bearer(token())}) as client,
    ):
        heard(client, "ready")
        clock.advance(timedelta(days=1).total_seconds())

        assert ended(client) == Code.UNAUTHORIZED


def test_client_that_reads_nothing_is_dropped_and_holds_up_nobody(feed: MemoryFeed) -> None:
    with (
        streaming(feed, send_s=0.2) as (url, _),
        talking(url, max_queue=1) as slow,
        talking(url, "?kinds=budget") as quick,
    ):
        heard(slow, "ready")
        heard(quick, "ready")
        feed.publish(large(900))
        feed.publish([FeedEvent(FeedKind.BUDGET, EVERYONE, {"n": -1})])

        assert heard(quick, "budget")["n"] == -1
        until(lambda: feed.readers == 1)
        assert ended(slow) in (Code.SLOW, NO_GOODBYE)  # what was sent before may keep it from coming through


def test_client_that_falls_behind_the_ring_is_told_so() -> None:
    feed = MemoryFeed(capacity=10)
    with streaming(feed) as (url, _), talking(url) as client:
        heard(client, "ready")
        feed.publish(large(500))

        assert ended(client) == Code.SLOW
    feed.close()


def test_one_connection_too_many(feed: MemoryFeed) -> None:
    with streaming(feed, max_connections=1) as (url, _), talking(url) as first:
        heard(first, "ready")
        with talking(url) as second:
            assert ended(second) == Code.OVERLOADED


def test_nobody_takes_the_place_of_all_others(feed: MemoryFeed, tmp_path: Path) -> None:
    one, other = ({"Authorization": bearer(token(sub=name))} for name in ("one", "other"))
    with streaming(feed, authenticator(tmp_path), max_of_one=1) as (url, _):
        with talking(url, additional_headers=one) as first:
            heard(first, "ready")
            with talking(url, additional_headers=one) as second, talking(url, additional_headers=other) as third:
                assert ended(second) == Code.OVERLOADED
                assert heard(third, "ready")
        until(lambda: feed.readers == 0)
        with talking(url, additional_headers=one) as again:
            assert heard(again, "ready")


@pytest.mark.parametrize(("origin", "welcome"), [("https://good.example", True), ("https://evil.example", False)])
def test_only_pages_of_known_origins_are_answered(feed: MemoryFeed, origin: str, welcome: bool) -> None:
    with streaming(feed, origins=("https://good.example",)) as (url, _):
        with nullcontext() if welcome else pytest.raises(InvalidStatus), talking(url, origin=origin) as client:
            assert heard(client, "ready")
        with talking(url, origin=url) as client:
            assert heard(client, "ready")


def test_stopping_service_ends_its_connections() -> None:
    with ExitStack() as outside:
        with running() as service:
            client = outside.enter_context(talking(service.url))
            heard(client, "ready")

        assert ended(client) in (Code.GOING_AWAY, SERVICE_RESTART)


def test_server_that_stops_says_goodbye(feed: MemoryFeed) -> None:
    with streaming(feed) as (url, stream), talking(url) as client:
        heard(client, "ready")
        loops = {task.get_loop() for task in stream._open}
        closing = asyncio.run_coroutine_threadsafe(stream.close(), loops.pop())

        assert ended(client) == Code.GOING_AWAY
        closing.result(timeout=10)


def test_feed_that_ends_says_goodbye(feed: MemoryFeed) -> None:
    with streaming(feed) as (url, _), talking(url) as client:
        heard(client, "ready")
        threading.Thread(target=feed.close).start()

        assert ended(client) == Code.GOING_AWAY


def test_feed_that_can_not_be_read(feed: MemoryFeed) -> None:
    feed.close()
    with streaming(feed) as (url, _), talking(url) as client:
        assert ended(client) == Code.UNAVAILABLE


def test_seeds_page_works_with_the_token_sent_first(feed: MemoryFeed, tmp_path: Path) -> None:
    with streaming(feed, authenticator(tmp_path)) as (url, _), talking(url) as client:
        client.send(json.dumps({"token": token()}))
        heard(client, "ready")
        feed.publish([FeedEvent(FeedKind.DECISION, EVERYONE, {"selected_services": ["gpt-4o-mini"]})])

        assert heard(client)["selected_services"] == ["gpt-4o-mini"]
