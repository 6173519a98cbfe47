"""policy.yaml: what it may hold, and how its mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crew_moe.catalog import load_policy, load_registry, packaged_config
from crew_moe.documents import read_mapping
from crew_moe.domain.task import TaskType
from tests.catalog.writing import folder, load, mistake

WEIGHTS = ("quality", "cost", "history", "learning", "preference", "diversity", "provider")


def test_an_overlay_changes_one_figure_and_the_version(tmp_path: Path) -> None:
    policy = load(folder(tmp_path, policy={"weights": {"quality": 60}}))[1]
    packaged = load(folder(tmp_path, policy=""))[1]

    assert (policy.weights.quality, policy.weights.cost) == (60, 20)
    assert policy.version != packaged.version
    assert packaged.version.startswith("default@")


def test_the_same_content_has_the_same_version(tmp_path: Path) -> None:
    assert (
        load(folder(tmp_path, policy={"name": "x"}))[1].version == load(folder(tmp_path, policy="name: x"))[1].version
    )


def test_every_task_type_has_its_entry() -> None:
    registry = load_registry()
    policy = load_policy(None, registry, ["score"])

    assert set(policy.tasks) == set(TaskType)
    assert all(task.preferred and task.budget for task in policy.tasks.values())


@pytest.mark.parametrize(
    ("over", "key", "says"),
    [
        ({"wieghts": {}}, "", "unknown field 'wieghts'; did you mean 'weights'?"),
        ({"weights": {"qualty": 1}}, "weights", "did you mean 'quality'?"),
        ({"weights": {"quality": -1}}, "weights.quality", "greater than or equal to 0"),
        ({"weights": {"quality": float("nan")}}, "weights.quality", "nan"),
        ({"weights": dict.fromkeys(WEIGHTS, 0)}, "weights", "add up to nothing"),
        ({"strategy": "scor"}, "strategy", "did you mean 'score'?"),
        ({"tasks": {"code_gen": {}}}, "tasks.code_gen", "did you mean 'code_generation'?"),
        ({"tasks": {"testing": {"preferred": ["gpt-4o-mni"]}}}, "tasks.testing.preferred", "mean 'gpt-4o-mini'?"),
        ({"tasks": {"testing": {"budget": ["o2"]}}}, "tasks.testing.budget", "unknown expert 'o2'"),
        ({"tasks": {"testing": {"requires": ["cod"]}}}, "tasks.testing.requires.0", "did you mean 'code'?"),
        ({"tasks": {"testing": {"min_output_tokens": 9999}}}, "tasks.testing", "is more than max_output_tokens"),
        ({"tiers": {"fst": {"attempt_timeout_ms": 1}}}, "tiers.fst", "did you mean 'fast'?"),
        ({"cost": {"spread": 1}}, "cost.spread", "less than 1"),
        ({"cost": {"spread": float("nan")}}, "cost.spread", "nan"),
        ({"breaker": {"backoff": 0.5}}, "breaker.backoff", "greater than or equal to 1"),
        ({"budgets": {"limits": {"user:acme/*": {"usd": 1}}}}, "budgets.limits.user:acme/*", "is no single scope"),
        ({"budgets": {"limits": {"tenant:a\u200b": {"usd": 1}}}}, "budgets.limits.tenant:a\u200b", "is no name of a"),
        (
            {"budgets": {"limits": {"tenant:a b": {"usd": 1}, "tenant:a%20b": {"usd": 2}}}},
            "budgets.limits.tenant:a%20b",
            "there is a limit for 'tenant:a%20b' already",
        ),
        ({"screening": {"pii": "redct"}}, "screening.pii", "did you mean 'redact'?"),
        ({"screening": {"pii": {"types": ["EMIAL"]}}}, "screening.pii.types.0", "did you mean 'EMAIL'?"),
        ({"screening": {"toxicity": {"actoin": "deny"}}}, "screening.toxicity", "did you mean 'action'?"),
        ({"exploration": {"rate": 2}}, "exploration.rate", "less than or equal to 1"),
        ({"exploration": {"within": "al"}}, "exploration.within", "allowed: eligible"),
        ({"parallel": {"consensus": "jugde"}}, "parallel.consensus", "did you mean 'judge'?"),
        ({"thresholds": {"tight_budget_usd": "-1"}}, "thresholds.tight_budget_usd", "is no amount of US$"),
        ({"rules": [{"name": "a", "use": []}]}, "rules.0.use", "at least 1 item"),
        ({"rules": [{"name": "a", "use": ["o2"]}]}, "rules.0.use", "unknown expert 'o2'"),
        ({"rules": [{"name": "a", "use": ["o1"], "when": {"risk": []}}]}, "rules.0.when", "did you mean 'risks'?"),
        ({"profiles": {"p": {"version": "1", "expert": "o2"}}}, "profiles.p.expert", "unknown expert 'o2'"),
        ({"profiles": {"p": {"expert": "o1"}}}, "profiles.p", "field 'version' is required"),
        ({"profiles": {"p": {"version": "1", "expert": "o1", "temperature": 3}}}, "profiles.p.temperature", "to 2"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_key_and_what_is_meant(tmp_path: Path, over: Any, key: str, says: str) -> None:
    error = mistake(folder(tmp_path, policy=over))

    assert error.file == str(tmp_path / "policy.yaml")
    assert error.key == key
    assert says in str(error)


def test_a_task_type_without_an_entry_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_mapping(packaged_config() / "policy.yaml")
    del whole["tasks"]["testing"]
    folder(tmp_path, policy=whole)
    monkeypatch.setattr("crew_moe.catalog.policy.layers", lambda *_: (tmp_path / "policy.yaml",))

    assert "no entry for testing" in str(mistake(tmp_path))


def test_a_policy_that_names_what_an_overlay_made_is_fine(tmp_path: Path) -> None:
    rule = {"rules": [{"name": "all", "use": ["gpt-4o"]}]}

    assert [row.name for row in load(folder(tmp_path, policy=rule))[1].rules] == ["all"]
