"""What several processes do to one database: `python -m tests.state.redis.children URL WORKER`."""

from __future__ import annotations

import sys
from dataclasses import replace

from crew_moe.state.redis.log import RedisLog
from crew_moe.state.redis.store import RedisStore
from tests.state.given import NOW, POLICY, SAMPLE, row_of

ROWS = 100


def write_some(url: str, worker: str) -> None:
    """ROWS observations of one expert, failures of one breaker and decisions, beside others who do the same."""
    patient = replace(POLICY, failures=1_000_000)
    store, log = RedisStore(url, patient), RedisLog(url)
    for number in range(ROWS):
        store.record(SAMPLE, NOW, once=f"{worker}/{number}")
        store.record(SAMPLE, NOW, once=f"both/{number}")
        store.fail("expert:shared", NOW)
        log.append(f"{worker}/{number}", row_of(number))
    log.close()
    store.close()


if __name__ == "__main__":
    write_some(*sys.argv[1:])
