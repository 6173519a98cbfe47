"""A process that counts beside others: `python -m tests.telemetry.counting_child DECISIONS`; a line asks it to show."""

from __future__ import annotations

import sys

from crew_moe import Router, RoutingRequest
from crew_moe.surface.telemetry import Telemetry


def main(decisions: int) -> None:
    telemetry = Telemetry.open(":memory:")
    with Router.from_config(state=":memory:", watchers=telemetry.watchers) as router:
        telemetry.bind(router)
        for _ in range(decisions):
            router.decide(RoutingRequest(task_type="planning", text="x"))
        telemetry.metrics.begun()
        telemetry.lookout.flush()
        _say("counted")
        for _ in sys.stdin:
            _say(telemetry.metrics.render().decode())
            _say("done")
        telemetry.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
