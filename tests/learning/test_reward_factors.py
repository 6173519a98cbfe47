"""Factors of one's own are found when a router opens, or the error says what is wrong and where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_moe import Feedback, Router, RoutingRequest
from crew_moe.domain.policy import RewardFactor
from crew_moe.errors import ConfigError
from crew_moe.learning.reward_factors import GROUP, load_factors
from crew_moe.learning.rewards import Facts
from crew_moe.telemetry.events import Recorder
from tests.router.given import decided

CODE = """
LIMIT = 3

def brief(facts):
    return 0.25 if facts.expert_id == "o1" else None

def broken(facts):
    raise RuntimeError("secret text")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a module of one's own, and an installed package that offers a factor."""
    (tmp_path / "own_rewards.py").write_text(CODE, encoding="utf-8")
    info = tmp_path / "own_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nbrevity = own_rewards:brief\n", encoding="utf-8")
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    sys.modules.pop("own_rewards", None)


def _python(path: str) -> RewardFactor:
    return RewardFactor(name="own", weight=2.0, python=path)


def test_a_function_of_a_module_beside_the_policy_is_a_factor(folder: Path) -> None:
    (factor,) = load_factors([_python("own_rewards:brief")], folder)

    assert (factor.name, factor.weight) == ("own", 2.0)
    assert factor.of(Facts(expert_id="o1")) == 0.25


def test_a_function_of_an_installed_package_is_a_factor(folder: Path) -> None:
    sys.path.append(str(folder))
    (factor,) = load_factors([RewardFactor(name="own", weight=1.0, entry_point="brevity")])

    assert factor.of(Facts(expert_id="o1")) == 0.25
    with pytest.raises(ConfigError, match=r"offers 'brevty'.*did you mean 'brevity'"):
        load_factors([RewardFactor(name="own", weight=1.0, entry_point="brevty")])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("own_rewards:breif", "learning.factors.0.python: 'own_rewards' has no 'breif'; did you mean 'brief'"),
        ("own_rewards:LIMIT", "learning.factors.0.python: 'own_rewards:LIMIT' is no function"),
        ("no_such_module:x", "learning.factors.0.python: the module 'no_such_module' can't be imported"),
    ],
)
def test_a_wrong_name_is_told_when_the_router_opens(folder: Path, path: str, said: str) -> None:
    (folder / "policy.yaml").write_text(f"learning: {{factors: [{{name: own, python: '{path}'}}]}}", encoding="utf-8")

    with pytest.raises(ConfigError, match=said):
        Router.from_config(folder, state=":memory:")


def test_a_factor_that_breaks_is_an_event_and_learning_goes_on(folder: Path) -> None:
    (folder / "policy.yaml").write_text(
        "learning: {factors: [{name: own, python: 'own_rewards:broken'}]}", encoding="utf-8"
    )
    sink = Recorder()
    on = Router.from_config(folder, state=":memory:", sink=sink)
    decision = decided(on)

    assert on.feedback(Feedback(decision_id=decision.decision_id, source="a", rating=5))
    assert ("reward_factor_failed", {"factor": "own", "error": "RuntimeError"}) in list(sink.events)
    assert on.state.performance(on.clock.now())[decision.expert_id, "planning"].learned == pytest.approx(0.55)
    assert isinstance(on.decide(RoutingRequest(task_type="planning")).decision_id, str)
