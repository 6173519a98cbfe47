"""What the approvals in Redis alone promise: a crash of the server loses none, and its keys end."""

from __future__ import annotations

import pytest

from crew_moe.errors import StateError
from crew_moe.state.redis.approvals import TAG, RedisApprovals
from crew_moe.state.redis.connection import Connection
from tests.redis_server import RedisServer
from tests.state.given import NOW, later
from tests.state.questions import approval_of


def test_pending_approval_outlives_a_crash_of_the_server(mortal_redis: RedisServer) -> None:
    approvals = RedisApprovals(mortal_redis.url)
    asked = approvals.ask(approval_of("a"))

    mortal_redis.kill()
    with pytest.raises(StateError, match="can't be used"):
        approvals.pending(NOW)
    mortal_redis.start()

    assert approvals.pending(NOW) == (asked,)
    assert approvals.ask(approval_of("b", created_at=later(minutes=1))) == asked
    approvals.close()


def test_every_key_has_one_hash_tag_and_an_end(redis_url: str) -> None:
    approvals, server = RedisApprovals(redis_url), Connection(redis_url)
    approvals.ask(approval_of("a"))
    approvals.answer("a", approve=True, by="ann", why="", now=NOW)

    lives = {key: server.execute("PTTL", key) for key in server.execute("KEYS", "*")}

    assert len(lives) == 2  # of the question and of what it is about; nothing waits any more
    assert all(key.startswith(TAG) for key in lives)
    assert all(30 * 86_400_000 < life < 31 * 86_400_000 for life in lives.values())
    approvals.close()
    server.close()


def test_waiting_ones_whose_record_is_gone_are_dropped_in_time(redis_url: str) -> None:
    approvals, server = RedisApprovals(redis_url), Connection(redis_url)
    approvals.ask(approval_of("a"))
    for key in server.execute("KEYS", TAG + "one:*"):
        server.execute("DEL", key)

    assert approvals.pending(NOW) == ()
    approvals.ask(approval_of("b", digest="d2", created_at=later(days=31)))
    assert [one.id for one in approvals.pending(later(days=31))] == ["b"]
    assert server.execute("ZCARD", TAG + "waiting") == 1
    approvals.close()
    server.close()
