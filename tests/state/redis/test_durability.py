"""Money is only trusted to a Redis that keeps what it acknowledged."""

from __future__ import annotations

import pytest

from crew_moe.errors import StateError
from crew_moe.state.redis.ledger import RedisLedger
from tests.contracts.ledgers import TREE, held
from tests.redis_server import RedisServer


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("appendonly", "no", "appendonly yes"),
        ("maxmemory-policy", "allkeys-lru", "maxmemory-policy noeviction"),
        ("maxmemory-policy", "volatile-ttl", "maxmemory-policy noeviction"),
        ("appendfsync", "no", "appendfsync always"),
    ],
)
def test_server_that_may_lose_money_is_refused(
    mortal_redis: RedisServer, setting: str, value: str, advice: str
) -> None:
    mortal_redis.ask("CONFIG", "SET", setting, value)

    with pytest.raises(StateError, match=advice):
        RedisLedger(mortal_redis.url)


@pytest.mark.parametrize("synced", ["always", "everysec"])
def test_server_that_syncs_is_taken(mortal_redis: RedisServer, synced: str) -> None:
    mortal_redis.ask("CONFIG", "SET", "appendfsync", synced)

    assert held(RedisLedger(mortal_redis.url).reserve(TREE, usd=1))


def test_where_config_is_forbidden_info_tells(mortal_redis: RedisServer) -> None:
    mortal_redis.ask("ACL", "SETUSER", "default", "-config")

    ledger = RedisLedger(mortal_redis.url)

    assert held(ledger.reserve(TREE, usd=1))
    mortal_redis.ask("ACL", "SETUSER", "default", "+config")
    mortal_redis.ask("CONFIG", "SET", "appendonly", "no")
    mortal_redis.ask("ACL", "SETUSER", "default", "-config")
    with pytest.raises(StateError, match="appendonly yes"):
        RedisLedger(mortal_redis.url)


def test_other_settings_are_found_out_with_the_next_connection(mortal_redis: RedisServer) -> None:
    ledger = RedisLedger(mortal_redis.url)
    mortal_redis.ask("CONFIG", "SET", "appendonly", "no")
    mortal_redis.ask("CLIENT", "KILL", "TYPE", "normal")

    with pytest.raises(StateError, match="appendonly yes"):
        ledger.reserve(TREE, usd=1)
    mortal_redis.ask("CONFIG", "SET", "appendonly", "yes")
    assert held(ledger.reserve(TREE, usd=1))
