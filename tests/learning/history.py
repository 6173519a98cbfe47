"""A week of routing as the log of a real router tells it, in which experts differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from crew_moe import Decision, Feedback, Outcome, Router, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.telemetry.events import Recorder

BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
WEEK: Final = timedelta(days=7)
TRUE_QUALITY: Final[Mapping[str, float]] = {
    "claude-sonnet-4": 0.9,
    "claude-opus-4": 0.7,
    "gpt-5": 0.6,
    "o1": 0.5,
    "gpt-4o": 0.3,
}
FLOOR: Final = 0.92  # which these five experts pass, and no other
RISE: Final = "gpt-5"  # who is asked when an answer fails


def exploring(folder: Path, rate: float = 0.8) -> Path:
    """A configuration folder whose policy leaves so much to chance."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(f"exploration: {{rate: {rate}}}\n", encoding="utf-8")
    return folder


def week(url: str, config: Path | None, decisions: int = 300, *, seed: int = 1) -> list[Decision]:
    """Write a week of decisions, calls and judgements into the state behind `url`; the decisions."""
    clock, rng = ManualClock(BEGIN), Random(seed)
    made = []
    with Router.from_config(config, state=url, clock=clock, sink=Recorder()) as router:
        for number in range(decisions):
            clock.advance(WEEK.total_seconds() / decisions)
            floor = 0.999 if number % 20 == 19 else FLOOR  # nobody passes the higher one
            request = RoutingRequest(
                task_type="planning", text=f"Plan {number}", min_quality=floor, seed=rng.getrandbits(32)
            )
            decision = router.decide(request)
            if isinstance(decision, Decision):
                made.append(decision)
                _answered(router, decision, rng)
    return made


def _answered(router: Router, decision: Decision, rng: Random) -> None:
    """Now and then the first call fails and a larger expert answers; every answer is judged."""
    served, tell = decision.expert_id, _teller(router, decision.decision_id)
    failed = rng.random() < 0.1
    if failed:
        tell(expert_id=served, success=False, cost_usd="0.001", error="timeout")
        served = RISE
    quality = min(1.0, max(0.0, rng.gauss(TRUE_QUALITY[served], 0.1)))
    tell(expert_id=served, success=True, attempt=1 + failed, cost_usd="0.004", latency_ms=900.0)
    router.feedback(Feedback(decision_id=decision.decision_id, source="reviewer", quality=quality))


def _teller(router: Router, decision_id: str) -> Callable[..., Any]:
    return lambda **told: router.record(Outcome(decision_id=decision_id, **told))
