"""What one router learns with: judgements weighed, arms bounded, and nothing broken by a store that is gone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe import Feedback
from crew_moe.clock import ManualClock
from crew_moe.domain.policy import Policy
from crew_moe.domain.principal import Principal
from crew_moe.errors import StateError
from crew_moe.learning.arm_pages import OF
from crew_moe.learning.arms import Arm
from crew_moe.learning.context import SIZE
from crew_moe.learning.learner import Learner, voice_of
from crew_moe.learning.offers import bandit_policy
from crew_moe.state import open_pages
from crew_moe.state.memory.pages import MemoryPages
from crew_moe.telemetry.events import Recorder
from tests.state.given import NOW, STEADY

X = np.eye(SIZE)[0]
CAP = 2.5
SAID = st.tuples(st.integers(0, 5), st.sampled_from(["poison", "a", "b"]), st.floats(0.0, 1.0))


def _policy(**learning: Any) -> Policy:
    policy = bandit_policy()
    return replace(policy, learning=replace(policy.learning, client_cap=CAP, **learning))


def _learner(pages: MemoryPages, sink: Recorder | None = None, **learning: Any) -> Learner:
    return Learner(
        _policy(**learning), lambda: pages, clock=ManualClock(NOW), sink=sink or Recorder(), key=b"k", folder=None
    )


def _row(number: int, user: str | None = None) -> dict[str, Any]:
    return {
        "decision_id": f"d{number}",
        "created_at": NOW.isoformat(),
        "task_type": "testing",
        "estimated_cost_usd": "0",
        "insight": {"vector": X.tolist(), "quality": {"o1": 0.5}},
        "identity": {} if user is None else {"user": user},
    }


def _heed(learner: Learner, number: int, source: str, quality: float, user: str | None = None) -> float:
    row, feedback = _row(number, user), Feedback(decision_id=f"d{number}", source=source, quality=quality)
    judgement = learner.judge(feedback, row, "o1", None, source)
    learner.heed(row, judgement)
    return judgement.weight


def _moment(pages: MemoryPages) -> float:
    page = pages.read(OF + "o1", NOW)
    return 0.0 if page is None else float(Arm.from_bytes(page.content).moment[0])


@settings(STEADY, max_examples=40)
@given(st.lists(SAID, max_size=25))
def test_one_source_adds_no_more_to_an_arm_than_its_room(said: list[tuple[int, str, float]]) -> None:
    with_it, without = MemoryPages(), MemoryPages()
    poisoned, clean = _learner(with_it), _learner(without)
    for number, source, quality in said:
        _heed(poisoned, number, source, quality)
        if source != "poison":
            _heed(clean, number, source, quality)

    assert abs(_moment(with_it) - _moment(without)) <= CAP * 0.5 + 1e-6  # rewards lie 0.5 about what was expected


def test_a_judgement_that_says_nothing_uses_no_room() -> None:
    pages = MemoryPages()
    learner = _learner(pages)
    judgement = learner.judge(Feedback(decision_id="d1", source="a", pr_merged=False), _row(1), "o1", None, "a")

    assert (judgement.reward, judgement.weight, pages.pages("", NOW)) == (None, 0.0, [])


def test_what_the_call_cost_is_part_of_the_reward() -> None:
    learner = _learner(MemoryPages(), reward=replace(_policy().learning.reward, cost=1.0))
    served = {"expert_id": "o1", "success": True, "cost_usd": "0.0025", "latency_ms": 5.0}
    judgement = learner.judge(Feedback(decision_id="d1", source="a", rating=5), _row(1), "o1", served, "a")

    assert judgement.reward == pytest.approx(0.75)


def test_a_store_that_goes_while_learning_is_an_event() -> None:
    class Leaving(MemoryPages):
        def pages(self, *_: object) -> Any:
            raise StateError("gone")

        def write(self, name: str, *args: Any, **more: Any) -> bool:
            if name.startswith("learning/voice/"):
                return super().write(name, *args, **more)
            raise StateError("gone")

    sink = Recorder()
    learner = _learner(Leaving(), sink, preference_samples=1.0)

    assert _heed(learner, 1, "a", 1.0, user="anna") == 1.0
    assert [event for event, _ in sink.events] == ["learning_failed", "learning_failed"]


@pytest.mark.parametrize(
    ("principal", "voice"),
    [
        (None, None),
        (Principal(subject="ops"), None),
        (Principal(subject="key-1", tenant="acme"), "acme/key-1"),
    ],
)
def test_a_caller_of_a_tenant_is_one_voice(principal: Principal | None, voice: str | None) -> None:
    assert voice_of(principal) == voice


PROGRAM = """
import sys
from datetime import datetime, UTC
from crew_moe.learning.voices import Voices
from crew_moe.state import open_pages
voices = Voices(open_pages(sys.argv[1]), 5.0)
now = datetime(2026, 3, 1, 12, tzinfo=UTC)
print(sum(voices.share("poison", "o1", "testing", now) for _ in range(40)))
"""


@pytest.mark.accept
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_processes_share_the_room_of_a_source(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else str(request.getfixturevalue("redis_url"))
    open_pages(url).close()
    command = [sys.executable, "-c", PROGRAM, url]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    counted = [float(one.communicate(timeout=60)[0]) for one in started]

    assert sum(counted) == pytest.approx(5.0)
