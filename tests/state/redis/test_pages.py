"""What the pages in Redis alone promise: one script for each write, keys that end, and a server that may go."""

from __future__ import annotations

import pytest

from crew_moe.errors import StateError
from crew_moe.state.redis.connection import Connection
from crew_moe.state.redis.pages import ONE, ROOT, RedisPages
from tests.redis_server import RedisServer
from tests.state.given import NOW, later

DAY_S = 86_400.0


def test_every_key_has_one_hash_tag_and_a_page_its_end(redis_url: str) -> None:
    pages, server = RedisPages(redis_url), Connection(redis_url)
    pages.write("ends", b"one", NOW, over=0, keep_s=DAY_S)
    pages.write("stays", b"one", NOW, over=0)

    keys = server.execute("KEYS", "*")

    assert sorted(key.removeprefix(ROOT) for key in keys) == ["ends", "names", "one:ends", "one:stays", "version"]
    assert 0 < server.execute("PTTL", ONE + "ends") <= DAY_S * 1_000
    assert server.execute("PTTL", ONE + "stays") == -1
    pages.close()
    server.close()


def test_each_change_is_one_script(redis_url: str) -> None:
    pages, server = RedisPages(redis_url), Connection(redis_url)

    def every() -> None:
        pages.write("a", b"one", NOW, over=0)
        pages.pages("", NOW)
        pages.erase("")

    every()
    server.execute("CONFIG", "RESETSTAT")
    every()

    calls = {name: stat["calls"] for name, stat in server.execute("INFO", "commandstats").items()}
    assert calls["cmdstat_evalsha"] == 3
    assert "cmdstat_eval" not in calls
    pages.close()
    server.close()


def test_names_of_pages_that_the_server_let_go_are_dropped_in_time(redis_url: str) -> None:
    pages, server = RedisPages(redis_url), Connection(redis_url)
    pages.write("a", b"one", NOW, over=0, keep_s=DAY_S)
    server.execute("DEL", ONE + "a")  # as at its end

    assert pages.read("a", NOW) is None
    assert list(pages.pages("", NOW)) == []
    assert pages.write("b", b"two", later(days=1), over=0)
    assert server.execute("ZRANGE", ROOT + "names", 0, -1) == ["b"]
    assert server.execute("EXISTS", ROOT + "ends") == 0
    pages.close()
    server.close()


def test_page_that_is_over_counts_as_none_though_many_wait_to_be_dropped(redis_url: str) -> None:
    pages = RedisPages(redis_url)
    for number in range(101):  # one more than go with one write
        pages.write(f"{number:03}", b"one", NOW, over=0, keep_s=DAY_S)

    assert pages.write("100", b"two", later(days=1), over=0)
    assert [page.name for page in pages.pages("", NOW)] == ["100"]
    pages.close()


def test_version_jumps_when_the_server_lost_its_data(redis_url: str) -> None:
    pages, server = RedisPages(redis_url), Connection(redis_url)
    pages.write("a", b"one", NOW, over=0)
    page, before = pages.read("a", NOW), pages.version()
    server.execute("FLUSHALL")

    pages.write("a", b"one", NOW, over=0)

    assert page is not None
    assert pages.version() > before
    assert not pages.write("a", b"two", NOW, over=page.version)
    pages.close()
    server.close()


@pytest.mark.parametrize("strange", ["", "7", "x never b25l", "7 never b2\u00e4", "7 soon b25l", "7 never b25l more"])
def test_value_that_is_no_page_is_one_clear_error(redis_url: str, strange: str) -> None:
    pages, server = RedisPages(redis_url), Connection(redis_url)
    server.execute("SET", ONE + "a", strange)

    with pytest.raises(StateError, match="a page that can't be read"):
        pages.read("a", NOW)
    pages.close()
    server.close()


def test_pages_outlive_a_crash_of_the_server(mortal_redis: RedisServer) -> None:
    pages = RedisPages(mortal_redis.url)
    pages.write("a", b"\0one", NOW, over=0)
    page = pages.read("a", NOW)

    mortal_redis.kill()
    with pytest.raises(StateError, match="can't be used"):
        pages.read("a", NOW)
    with pytest.raises(StateError, match="can't be used"):
        pages.write("a", b"two", NOW, over=0)
    mortal_redis.start()

    assert pages.read("a", NOW) == page
    pages.close()


def test_closed_store_is_one_clear_error(redis_url: str) -> None:
    pages = RedisPages(redis_url)
    pages.close()

    with pytest.raises(StateError, match="is closed"):
        pages.version()
