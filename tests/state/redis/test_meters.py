"""What the meters in Redis alone promise: one script for each operation, keys that end, and a server that may go."""

from __future__ import annotations

import pytest

from crew_moe.domain.meter import Busy, Demand, Passage, Rate
from crew_moe.errors import StateError
from crew_moe.state.redis.connection import Connection
from crew_moe.state.redis.meters import ROOT, RedisMeters
from tests.redis_server import RedisServer
from tests.state.given import NOW

DEMAND = Demand(key="expert:a", rates=(Rate(name="requests", capacity=1, per_s=60.0),), concurrent=2)
USER = Demand(key="user:" + "x" * 400, rates=(Rate(name="calls", capacity=2, per_s=86_400.0),))


def _taken(meters: RedisMeters) -> str:
    answer = meters.take([DEMAND, USER], NOW, lease_s=60.0)
    assert isinstance(answer, Passage)
    return answer.id


def test_every_key_has_one_hash_tag_a_fair_length_and_an_end(redis_url: str) -> None:
    meters, server = RedisMeters(redis_url), Connection(redis_url)
    _taken(meters)

    keys = server.execute("KEYS", "*")
    lives = {key.removeprefix(ROOT).partition(":")[0]: server.execute("PTTL", key) for key in keys}

    assert len(keys) == 5  # two meters, the places and the passage of one, one that is busy
    assert all(key.startswith(ROOT) and len(key) < 150 for key in keys)
    assert set(lives) == {"meter", "places", "passage", "busy"}
    assert all(0 < life <= (86_400 + 3_600 + 300) * 1_000 for life in lives.values())
    meters.close()
    server.close()


def test_each_operation_is_one_script(redis_url: str) -> None:
    meters, server = RedisMeters(redis_url), Connection(redis_url)

    def every() -> None:
        meters.give_back(_taken(meters), NOW, used={"requests": 0.0, "calls": 0.0})
        meters.close_until("expert:a", NOW, NOW)
        meters.busy(NOW, kind="expert")
        meters.status("expert:a", NOW)

    every()
    server.execute("CONFIG", "RESETSTAT")
    every()

    calls = {name: stat["calls"] for name, stat in server.execute("INFO", "commandstats").items()}
    assert calls["cmdstat_evalsha"] == 5
    assert "cmdstat_eval" not in calls
    meters.close()
    server.close()


def test_server_that_forgot_its_scripts_learns_them_again(redis_url: str) -> None:
    meters, server = RedisMeters(redis_url), Connection(redis_url)
    _taken(meters)
    server.execute("SCRIPT", "FLUSH")

    assert isinstance(meters.take([DEMAND], NOW), Busy)
    meters.close()
    server.close()


def test_what_was_taken_outlives_a_crash_of_the_server(mortal_redis: RedisServer) -> None:
    meters = RedisMeters(mortal_redis.url)
    passage_id = _taken(meters)

    mortal_redis.kill()
    with pytest.raises(StateError, match="can't be used"):
        meters.take([DEMAND], NOW)
    mortal_redis.start()

    assert isinstance(meters.take([DEMAND], NOW), Busy)
    meters.give_back(passage_id, NOW, used={"requests": 0.0})
    assert meters.take([DEMAND], NOW).ok
    meters.close()


def test_long_key_and_its_digest_are_two_meters(redis_url: str) -> None:
    meters, server = RedisMeters(redis_url), Connection(redis_url)
    _taken(meters)
    (hashed,) = (key for key in server.execute("KEYS", "*meter:#*"))

    digest = hashed.removeprefix(ROOT + "meter:")

    assert meters.status(digest, NOW).levels == {}
    assert meters.status(USER.key, NOW).levels == {"calls": 1.0}
    meters.close()
    server.close()
