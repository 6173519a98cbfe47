"""Crews that others wrote: they work unchanged with default routing, and are routed by a file beside them."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from crewai import Agent, Crew, PlanningConfig
from crewai.project.crew_loader import load_crew
from crewai.tools import tool
from pydantic import BaseModel

from crew_moe.crew import attach, report
from crew_moe.errors import ConfigError
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.crew.playing import run

CREWS = Path(__file__).parents[2] / "fixtures" / "crews"


def newsroom() -> Crew:
    """The crew of a CrewBase class, loaded from its file."""
    spec = importlib.util.spec_from_file_location("newsroom_crew", CREWS / "newsroom" / "crew.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # CrewBase looks there for the folder of its YAML
    spec.loader.exec_module(module)
    made: Crew = module.Newsroom().crew()
    return made


def brochure() -> tuple[Crew, dict[str, Any]]:
    return load_crew(CREWS / "brochure" / "crew.jsonc")


def test_crew_base_class_runs_with_default_routing(router: Router, sim: Simulation) -> None:
    crew = attach(newsroom(), router=router)
    assert run(crew, topic="bees").raw
    research, edit = report(crew).tasks
    assert (research.task, edit.task) == ("research_task", "edit_task")
    assert edit.expert_id == "gpt-4o"  # the agent's own llm
    assert "bees" in str(sim.requests[0].messages)


def test_crew_base_class_is_routed_by_a_sidecar(router: Router) -> None:
    crew = attach(newsroom(), CREWS / "newsroom" / "routing.yaml", router=router)
    run(crew, topic="bees")
    research, edit = report(crew).tasks
    assert research.tier == "fast"
    assert edit.expert_id == "claude-sonnet-4"
    assert research.decision_id is not None
    assert router.log.get(research.decision_id)["task_type"] == "analysis"  # type: ignore[index]


@pytest.mark.parametrize("place", ["config/tasks.yaml", "config"])
def test_crew_base_class_takes_its_own_tasks_file(place: str, router: Router) -> None:
    crew = attach(newsroom(), CREWS / "newsroom" / place, router=router)
    assert run(crew, topic="bees").raw


@pytest.mark.filterwarnings("ignore:function callbacks cannot be serialized")  # CrewAI's, of its own copies
def test_role_with_a_placeholder_keeps_its_routing_for_every_input(router: Router) -> None:
    crew = attach(newsroom(), CREWS / "newsroom" / "routing.yaml", router=router)
    crew.kickoff_for_each(inputs=[{"topic": "bees"}, {"topic": "ants"}])
    tiers = [row.tier for row in report(crew).tasks if row.task == "research_task"]
    assert tiers == ["fast", "fast"]


def test_json_crew_runs_with_default_routing(router: Router) -> None:
    crew, inputs = brochure()
    assert run(attach(crew, router=router), **inputs).raw
    assert [row.task for row in report(crew).tasks] == ["draft_task", "polish_task"]


def test_json_crew_is_routed_by_a_sidecar(router: Router) -> None:
    crew, inputs = brochure()
    attach(crew, CREWS / "brochure" / "routing.json", router=router)
    run(crew, **inputs)
    assert report(crew).tasks[1].expert_id == "gpt-5"


def test_crew_of_a_class_of_its_own_stays_one(router: Router) -> None:
    class Gazette(Crew):
        def kickoff(self, *args: Any, **kwargs: Any) -> Any:
            return super().kickoff(*args, **kwargs)

    base = newsroom()
    crew = attach(Gazette(agents=base.agents, tasks=base.tasks), router=router)
    assert isinstance(crew, Gazette)
    assert run(crew, topic="bees").raw
    assert isinstance(crew.agents[0], Agent)


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("agents: {reseacher: {tier: fast}}", "unknown agent 'reseacher'; did you mean 'researcher'"),
        ("tasks: {edit_task: {tier: premium, max_tier: fast}}", "lies below the tier"),
    ],
)
def test_wrong_sidecar_is_told_before_the_crew_runs(block: str, complaint: str, tmp_path: Path, router: Router) -> None:
    shutil.copytree(CREWS / "newsroom" / "config", tmp_path / "config")
    (tmp_path / "routing.yaml").write_text(block, encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint):
        attach(newsroom(), tmp_path / "routing.yaml", router=router)


def test_crews_that_share_an_agent_keep_to_their_own_files(agent: Any, task: Any, router: Router, routing: Any) -> None:
    member = agent()
    crews = []
    for name, expert_id in (("first", "gpt-4o"), ("second", "claude-opus-4")):
        crew = Crew(agents=[member], tasks=[task(name, member)])
        crews.append(attach(crew, routing(f"tasks: {{{name}: {{pin: {expert_id}}}}}"), router=router))
    for crew in crews:
        run(crew)
    served = [[(row.task, row.expert_id) for row in report(crew).tasks] for crew in crews]
    assert served == [[("first", "gpt-4o")], [("second", "claude-opus-4")]]


def test_agent_that_works_for_another_crew_keeps_to_its_own_file(
    agent: Any, task: Any, router: Router, sim: Simulation, routing: Any
) -> None:
    expert = agent("Expert")
    attach(
        Crew(agents=[expert], tasks=[task("other", expert)]), routing("default: {pin: claude-opus-4}"), router=router
    )

    @tool("ask")
    def ask(question: str) -> str:
        """Asks the expert."""
        return str(expert.llm.call(question))

    member = agent(tools=[ask])
    sim.reply_with("gpt-4o", tool_calls=[{"name": "ask", "arguments": {"question": "Why?"}}])
    crew = Crew(agents=[member], tasks=[task("main", member)])
    run(attach(crew, routing("default: {pin: gpt-4o}"), router=router))
    assert [request.expert_id for request in sim.requests] == ["gpt-4o", "claude-opus-4", "gpt-4o"]


class Finding(BaseModel):
    title: str
    points: list[str]


@pytest.mark.parametrize("expert", ["gpt-4o", "claude-sonnet-4", "command-r"])  # with schemas, and without
def test_structure_is_kept_by_every_kind_of_expert(expert: str, router: Router, agent: Any, task: Any) -> None:
    member = agent()
    work = task("find", member, output_pydantic=Finding, guardrail="It names the pump")
    router.pin(expert)
    output = run(attach(Crew(agents=[member], tasks=[work]), router=router))
    assert isinstance(output.pydantic, Finding)


def test_agent_that_plans_until_it_is_ready_comes_to_an_end(
    router: Router, sim: Simulation, agent: Any, task: Any
) -> None:
    member = agent(planning_config=PlanningConfig(max_attempts=20))  # None, CrewAI's default, is for ever
    crew = attach(Crew(agents=[member], tasks=[task("only", member)]), router=router)
    assert run(crew).raw
    assert len(sim.requests) < 10
