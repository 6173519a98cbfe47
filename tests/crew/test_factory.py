"""Agents and crews from YAML alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from crewai import Process
from crewai.tools import tool

from crew_moe.crew import AgentFactory, RoutedLLM, report
from crew_moe.errors import ConfigError
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.crew.playing import run

REVIEW = Path(__file__).parents[2] / "fixtures" / "crews" / "review"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the review crew that a test may spoil."""
    return Path(shutil.copytree(REVIEW, tmp_path / "review"))


def test_crew_that_crewai_refuses_is_told_with_its_file(router: Router, tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text("a: {role: A, goal: G, backstory: B}\n", encoding="utf-8")
    aside = "{description: D, expected_output: E, agent: a, async_execution: true}"
    (tmp_path / "tasks.yaml").write_text(f"one: {aside}\ntwo: {aside}\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"tasks\.yaml: .*at most one asynchronous task"):
        AgentFactory(router).build_crew(tmp_path)


def test_agents_have_models_of_their_own(router: Router) -> None:
    agents = AgentFactory(router).build(REVIEW)
    auditor, writer = agents["auditor"].llm, agents["writer"].llm
    assert isinstance(auditor, RoutedLLM)
    assert isinstance(writer, RoutedLLM)
    assert auditor is not writer
    assert (auditor.seat.preference, writer.seat.preference) == (None, "gpt-4o-mini")


def test_crew_from_yaml_runs_each_task_as_it_asks(router: Router, sim: Simulation) -> None:
    crew = AgentFactory(router).build_crew(REVIEW, code="eval(input())")
    assert run(crew).raw
    audit, summary = report(crew).tasks
    assert router.registry[str(audit.expert_id)].quality >= 0.95
    assert "us" in router.registry[str(audit.expert_id)].regions
    assert summary.expert_id == "gpt-4o-mini"
    assert "eval(input())" in str(sim.requests[0].messages)


def test_unattached_agents_route_a_task_by_its_name(router: Router) -> None:
    from crewai import Crew, Task

    agents = AgentFactory(router).build(REVIEW)
    work = Task(name="summary_task", description="Sum up", expected_output="Text", agent=agents["writer"])
    assert run(Crew(agents=list(agents.values()), tasks=[work])).raw


def test_hierarchical_crew_from_yaml(router: Router) -> None:
    crew = AgentFactory(router).build_crew(REVIEW, process=Process.hierarchical, code="x")
    assert isinstance(crew.manager_llm, RoutedLLM)
    assert run(crew).raw


def test_tools_are_named_in_yaml(router: Router, config: Path) -> None:
    @tool("grep")
    def grep(pattern: str) -> str:
        """Search."""
        return pattern

    text = (config / "agents.yaml").read_text(encoding="utf-8")
    (config / "agents.yaml").write_text(text.replace("  llm: gpt-4o-mini", "  tools: [grep]"), encoding="utf-8")
    agents = AgentFactory(router, tools={"grep": grep}).build(config)
    assert agents["writer"].tools == [grep]
    with pytest.raises(ConfigError, match="unknown tool 'grep'"):
        AgentFactory(router).build(config)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("agents.yaml", "goal: Say it shortly", "gaol: Say it", "unknown key 'gaol'; did you mean 'goal'"),
        ("agents.yaml", "role: Writer", "role: ''", "writer.role: is required"),
        ("agents.yaml", "llm: gpt-4o-mini", "llm: {model: x}", "writer.llm: must be the name of a model"),
        ("tasks.yaml", "agent: writer", "agent: wirter", "unknown agent 'wirter'; did you mean 'writer'"),
        ("tasks.yaml", "context: [audit_task]", "context: [odit_task]", "unknown earlier task 'odit_task'"),
        ("tasks.yaml", "context: [audit_task]", "context: 3", "context: must be a list of names"),
        ("tasks.yaml", "context: [audit_task]", "async_execution: maybe", "async_execution: must be true or false"),
        ("tasks.yaml", "context: [audit_task]", "output_pydantic: Findings", "names Python code"),
        ("tasks.yaml", "min_quality: 0.95", "min_qualty: 0.95", "unknown field 'min_qualty'; did you mean"),
        ("tasks.yaml", "budget_usd: 0.5", "pin: gpt-40", "unknown expert 'gpt-40'; did you mean 'gpt-4o'"),
    ],
)
def test_wrong_file_is_told_with_its_place(
    file: str, old: str, new: str, message: str, router: Router, config: Path
) -> None:
    path = config / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        AgentFactory(router).build_crew(config, code="x")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_routing_switched_off_builds_plain_agents(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_DISABLED", "1")
    agents = AgentFactory(router).build(REVIEW)
    assert not any(isinstance(agent.llm, RoutedLLM) for agent in agents.values())
