"""A decision log with known truth: a real router that explores, over experts whose worth at each task is fixed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from crew_moe import Decision, Feedback, Outcome, Router, RoutingRequest
from crew_moe.clock import ManualClock
from tests.routing.given import NOW

EXPERTS: Final = ("gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash-lite")
TASKS: Final = ("planning", "analysis")
RATE: Final = 0.5
QUALITY: Final[Mapping[str, Sequence[float]]] = {"planning": (0.9, 0.6, 0.3), "analysis": (0.3, 0.6, 0.9)}
FAILS: Final[Mapping[str, float]] = {"gpt-4o": 0.02, "claude-haiku-4-5": 0.02, "gemini-2.5-flash-lite": 0.3}
POLICY: Final[Mapping[str, Any]] = {
    "exploration": {"rate": RATE},
    "access": [{"name": "three", "only": {"ids": list(EXPERTS)}}],
}


def written(path: Path, document: Mapping[str, Any]) -> Path:
    """A document as a file of YAML, for JSON is YAML too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def candidate(path: Path, **changes: Any) -> Path:
    """The logging policy without exploration, with these changes."""
    return written(path, {**POLICY, "exploration": {"rate": 0.0}, **changes})


def ruled(**by_task: str) -> dict[str, Any]:
    """A strategy of rules: this expert for that task."""
    rules = [{"name": task, "when": {"task_types": [task]}, "use": [expert]} for task, expert in by_task.items()]
    return {"strategy": "rule", "rules": rules}


def explored_log(folder: Path, count: int, *, seed: int = 0, policy: Mapping[str, Any] = POLICY) -> tuple[Path, str]:
    """The folder of the configuration, and the URL of a state with so many decisions and what came of them."""
    rng = Random(seed)
    config, url = written(folder / "config" / "policy.yaml", policy).parent, f"sqlite:///{folder / 'state.db'}"
    with Router.from_config(config, state=url, clock=ManualClock(NOW)) as router:
        for number in range(count):
            task = TASKS[number % len(TASKS)]
            tenant = "acme" if number % 4 < 2 else "initech"
            decision = router.decide(
                RoutingRequest(task_type=task, text="x" * (40 + number % 7), tenant=tenant, seed=rng.getrandbits(40))
            )
            assert isinstance(decision, Decision), decision
            came_of(router, decision, task, rng)
    return config, url


def came_of(router: Router, decision: Decision, task: str, rng: Random) -> None:
    """Report how it went: a failure, or an answer of the expert's quality at the task."""
    expert = decision.expert_id
    success = rng.random() >= FAILS[expert]
    quality = QUALITY[task][EXPERTS.index(expert)]
    router.record(
        Outcome(
            decision_id=decision.decision_id,
            expert_id=expert,
            success=success,
            latency_ms=500.0 + 1_000.0 * EXPERTS.index(expert),
            cost_usd="0.001",
            quality=quality if success else None,
        )
    )
    if success and rng.random() < 0.5:
        router.feedback(Feedback(decision_id=decision.decision_id, source="test", outcome="success", quality=quality))
