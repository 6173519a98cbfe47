"""Layers of routing: which file wins, and what a file may look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crew_moe.crew.plan import RoutingPlan, load_plan
from crew_moe.domain.expert import Tier
from crew_moe.errors import ConfigError, NotAvailable

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return make


@pytest.fixture
def layered(write: Write) -> Path:
    """A folder in which every layer sets `min_quality`, and each layer one key of its own."""
    write("agents.yaml", "auditor: {role: ' Chief auditor ', routing: {min_quality: 0.2, risk: low, tier: fast}}")
    write("tasks.yaml", "audit: {description: d, routing: {min_quality: 0.3, tier: premium, data: {residency: eu}}}")
    path = write(
        "routing.yaml",
        """
        default: {min_quality: 0.1, urgency: low}
        agents: {auditor: {min_quality: 0.4, critical: true}}
        tasks: {audit: {min_quality: 0.5, data: {pii: local_only}}}
        """,
    )
    return path.parent


def test_sidecar_wins_over_tasks_and_those_over_agents(layered: Path) -> None:
    block = load_plan(layered).block(agent="Chief auditor", task="audit")
    assert block.min_quality == 0.5
    assert block.tier is Tier.PREMIUM
    assert (block.urgency, block.risk, block.critical) == ("low", "low", True)
    assert (block.data.residency, block.data.pii) == ("eu", "local_only")


def test_each_layer_holds_alone(layered: Path) -> None:
    plan = load_plan(layered)
    assert plan.block(agent="nobody", task="nothing").min_quality == 0.1
    assert plan.block(agent="auditor", task="nothing").min_quality == 0.4
    assert plan.block(agent="nobody", task="audit").min_quality == 0.5


def test_null_takes_a_key_back(write: Write) -> None:
    write("tasks.yaml", "audit: {description: d, routing: {pin: o1}}")
    path = write("routing.yaml", "tasks: {audit: {pin: null}}")
    assert load_plan(path).block(task="audit").pin is None


@pytest.mark.parametrize("start", ["", "tasks.yaml", "routing.yaml"])
def test_any_file_of_the_folder_finds_the_others(start: str, layered: Path) -> None:
    assert load_plan(layered / start).block(agent="Chief auditor", task="audit").min_quality == 0.5


def test_sidecar_of_any_name_is_known_by_its_keys(write: Write) -> None:
    path = write("crew-routing.yaml", "tasks: {audit: {tier: fast}}")
    assert load_plan(path).block(task="audit").tier is Tier.FAST


def test_task_called_default_is_a_task(write: Write) -> None:
    path = write("work.yaml", "default: {description: d, expected_output: e, routing: {tier: fast}}")
    plan = load_plan(path)
    assert plan.default is None
    assert plan.block(task="default").tier is Tier.FAST


def test_no_routing_is_an_empty_plan() -> None:
    assert load_plan(None) == RoutingPlan()
    assert not load_plan(None).routes(agent="x", task="y")


def test_files_that_route_something_say_whom(layered: Path) -> None:
    plan = load_plan(layered)
    assert plan.routes(agent="Chief auditor", task=None)
    assert plan.routes(agent=None, task="audit")
    assert not plan.routes(agent="Writer", task="write")


def test_shared_seats_obey_the_strictest_rule(layered: Path) -> None:
    block = load_plan(layered).shared_block("memory")
    assert (block.data.pii, block.data.residency) == ("local_only", "eu")


def test_two_residencies_must_be_settled_for_shared_seats(write: Write) -> None:
    text = "tasks: {a: {data: {residency: eu}}, b: {data: {residency: us}}}"
    plan = load_plan(write("routing.yaml", text))
    with pytest.raises(ConfigError, match="different residencies") as caught:
        plan.shared_block("memory")
    assert caught.value.allowed == ("eu", "us")
    settled = load_plan(write("routing.yaml", text[:-1] + "}\nagents: {memory: {data: {residency: eu}}}"))
    assert settled.shared_block("memory").data.residency == "eu"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("routing.yaml", "taks: {audit: {tier: fast}}", "unknown key 'taks'; did you mean 'tasks'?"),
        ("routing.yaml", "tasks: [audit]", "tasks: must be a mapping"),
        ("routing.yaml", "tasks: {audit: {teir: fast}}", "tasks.audit: unknown field 'teir'"),
        ("tasks.yaml", "audit: text", "audit: an entry must be a mapping"),
        ("tasks.yaml", "audit: {routing: {tier: fast}}\naudit: {routing: {}}", "key 'audit' stands twice"),
        ("tasks.yaml", "- audit", "the top of the file must be a mapping"),
    ],
)
def test_wrong_file_is_told_with_its_name(name: str, text: str, message: str, write: Write) -> None:
    path = write(name, text)
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    assert message in str(caught.value)
    assert name in str(caught.value)


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_plan(tmp_path / "tasks.yaml")
    with pytest.raises(ConfigError, match=r"no agents\.yaml, tasks\.yaml or routing\.yaml"):
        load_plan(tmp_path)


def test_feature_of_a_later_version_names_file_and_task(write: Write) -> None:
    path = write("tasks.yaml", "audit: {description: d, routing: {parallel: auto}}")
    with pytest.raises(NotAvailable, match=r"tasks\.yaml: audit\.routing"):
        load_plan(path)


def test_sidecar_for_an_unknown_task_is_an_error(layered: Path) -> None:
    load_plan(layered).check_tasks(["audit"])
    (layered / "tasks.yaml").write_text("odit: {description: d}", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown task 'audit'; did you mean 'odit'"):
        load_plan(layered).check_tasks(["odit"])


def test_sidecar_for_a_task_that_this_crew_leaves_out_is_none(layered: Path) -> None:
    (layered / "tasks.yaml").write_text("{audit: {description: d}, other: {description: d}}", encoding="utf-8")
    load_plan(layered).check_tasks(["other"])


@pytest.mark.parametrize("names", [[None], ["odit"], ["other", None]])
def test_block_that_no_task_can_take_is_an_error(write: Write, names: list[str | None]) -> None:
    path = write("tasks.yaml", "{audit: {description: d, routing: {tier: fast}}, other: {description: d}}")
    with pytest.raises(ConfigError, match=r"tasks\.yaml: audit\.routing: no task of the crew has this name"):
        load_plan(path).check_tasks(names)


def test_task_without_a_name_is_none_of_the_business_of_blocks_that_are_taken(write: Write) -> None:
    path = write("tasks.yaml", "audit: {description: d, routing: {tier: fast}}")
    load_plan(path).check_tasks(["audit", None])


def test_sidecar_for_an_unknown_agent_is_an_error(layered: Path) -> None:
    (layered / "routing.yaml").write_text("agents: {auditr: {tier: fast}}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"agents\.auditr: unknown agent 'auditr'; did you mean 'auditor'"):
        load_plan(layered).check_agents(["Chief auditor"])


def test_sidecar_above_the_config_folder_knows_its_agents(write: Write, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    write("config/agents.yaml", "auditor: {role: Chief auditor, routing: {risk: low}}")
    sidecar = write("routing.yaml", "agents: {auditor: {tier: fast}}")
    for path in (sidecar, tmp_path):
        block = load_plan(path).block(agent="Chief auditor", task="audit")
        assert (block.tier, block.risk) == ("fast", "low")


@pytest.mark.parametrize(
    ("agents", "tasks", "where"),
    [
        ("{}", "{tier: premium, max_tier: fast}", r"tasks\.yaml: audit\.routing\.max_tier"),
        ("{tier: premium}", "{max_tier: fast}", r"tasks\.yaml: audit\.routing\.max_tier"),
        ("{max_tier: fast}", "{tier: premium}", r"tasks\.yaml: audit\.routing\.tier"),
    ],
)
def test_ceiling_below_the_tier_is_told_with_its_place(write: Write, agents: str, tasks: str, where: str) -> None:
    write("agents.yaml", f"auditor: {{role: r, routing: {agents}}}")
    plan = load_plan(write("tasks.yaml", f"audit: {{description: d, routing: {tasks}}}"))
    with pytest.raises(ConfigError, match=where + ": the ceiling 'fast' lies below the tier 'premium'"):
        plan.block(agent="auditor", task="audit")
