"""Another process with a router over the same Redis: `python -m tests.integration.replica WHAT URL`."""

from __future__ import annotations

import os
import sys

from crew_moe import Router
from crew_moe.state.redis.store import RedisStore
from crew_moe.telemetry.events import Recorder
from tests.router.given import decided, report
from tests.state.given import POLICY
from tests.waiting import until


def report_failures(url: str) -> None:
    """Of each expert named on stdin, enough to open its breaker; 'done' on stdout once they are in."""
    on = Router.from_config(state=url, sink=Recorder())
    for line in sys.stdin:
        report(on, line.strip(), success=False, times=on.policy.breaker.failures)
        print("done", flush=True)  # noqa: T201 - how the parent hears of it
    on.close()


def decide_in_a_fork(url: str) -> None:
    """A child, forked while the router looks at the server, sees an ejection that came after the fork."""
    on = Router.from_config(state=url, sink=Recorder())
    first = decided(on).expert_id
    child = os.fork()
    if child == 0:
        until(lambda: decided(on).expert_id != first)
        os._exit(0)
    RedisStore(url, POLICY).fail(f"expert:{first}", on.clock.now(), eject_ms=600_000)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    until(lambda: decided(on).expert_id != first)
    on.close()
    sys.exit(code)


PROGRAMS = {program.__name__: program for program in (report_failures, decide_in_a_fork)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](sys.argv[2])
