"""A folder's crew, run for callers: what they get back, what they hear meanwhile, and how they stop it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from crew_moe.crew.crew_run import CrewRun, End
from crew_moe.crew.project import Project
from crew_moe.crew.watch import Progress
from crew_moe.domain.principal import Principal
from crew_moe.errors import ConfigError, CrewCancelled, CrewFailed, InvalidInput, SimulationError
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from crew_moe.surface.fault import fault_of
from crew_moe.telemetry.events import Recorder
from tests.crew.guarded import Make, Ruled, calling, lookup, on_duty, scopes
from tests.crew.projects import AGENTS, SEA, TASKS
from tests.waiting import until


@pytest.fixture
def slow() -> Iterator[tuple[Simulation, Router]]:
    """Providers that take a third of a second for every answer."""
    with (
        simulate({"rules": [{"latency_ms": 300}]}, speed=0) as sim,
        Router.from_config(state=":memory:", base_url=sim.base_url, sink=Recorder()) as router,
    ):
        yield sim, router


def reserved(router: Router) -> Decimal:
    return sum((one.reserved_usd for one in router.guards.ledger.statuses()), Decimal(0))


def after(finished: int) -> tuple[threading.Event, Callable[[Progress], None]]:
    """A flag, and a listener that raises it when so many tasks are done."""
    cancel = threading.Event()

    def listen(news: Progress) -> None:
        if news.finished == finished:
            cancel.set()

    return cancel, listen


def in_thread(project: Project, **options: Any) -> tuple[threading.Thread, list[CrewRun]]:
    """Run it elsewhere; the list gets what came of it."""
    ended: list[CrewRun] = []
    thread = threading.Thread(target=lambda: ended.append(project.run(SEA, **options)))
    thread.start()
    return thread, ended


def test_run_tells_what_each_task_cost_and_why(router: Router, sim: Simulation, folder: Make) -> None:
    run = Project(router, folder()).run(SEA, budget_usd="1")

    assert (run.ok, run.end, run.error) == (True, End.FINISHED, None)
    assert run.output
    assert [row.task for row in run.tasks] == ["draft", "polish"]
    assert run.cost_usd == sum(row.cost_usd for row in run.tasks) > 0
    assert all(row.decision_id and row.rationale and row.attempts[-1].ok for row in run.tasks)
    assert len(sim.requests) == 2


def test_run_is_json_ready(router: Router, folder: Make) -> None:
    run = Project(router, folder()).run(SEA)
    told = json.loads(json.dumps(run.as_dict()))

    assert (told["ok"], told["end"], told["error"], told["run_id"]) == (True, "finished", None, run.run_id)
    assert [row["fallbacks"] for row in told["tasks"]] == [list(run.routing[row.task].fallbacks) for row in run.tasks]
    assert told["routing"]["draft"]["decision_id"] == run.routing["draft"].decision_id


def test_run_serves_as_foreseen_and_the_forecast_can_be_explained(router: Router, folder: Make) -> None:
    run = Project(router, folder()).run(SEA)

    assert [row.expert_id for row in run.tasks] == [run.routing[row.task].expert_id for row in run.tasks]
    assert router.explain(run.routing["draft"].decision_id).matches


def test_progress_comes_in_order(router: Router, folder: Make) -> None:
    heard: list[Progress] = []
    run = Project(router, folder()).run(SEA, progress=heard.append)

    told = [(one.task, one.stage, one.finished, one.total) for one in heard]
    assert told == [
        ("draft", "started", 0, 2),
        ("draft", "finished", 1, 2),
        ("polish", "started", 1, 2),
        ("polish", "finished", 2, 2),
    ]
    assert [one.expert_id for one in heard[1::2]] == [row.expert_id for row in run.tasks]
    assert heard[-1].cost_usd == run.cost_usd > heard[1].cost_usd > heard[0].cost_usd == 0


def test_listener_is_heard_itself(router: Router, folder: Make, capsys: pytest.CaptureFixture[str]) -> None:
    Project(router, folder()).run(SEA, progress=lambda news: print(news.task, news.stage))  # noqa: T201 - what is tested

    assert capsys.readouterr().out == "draft started\ndraft finished\npolish started\npolish finished\n"


def test_listener_that_fails_ends_no_run(sim: Simulation, folder: Make) -> None:
    sink = Recorder()

    def deaf(_: Progress) -> None:
        raise OSError("gone")

    with Router.from_config(state=":memory:", base_url=sim.base_url, sink=sink) as router:
        assert Project(router, folder()).run(SEA, progress=deaf).ok
    assert [fields for name, fields in sink.events if name == "progress_not_told"] == [
        {"task": "draft", "error": "OSError"}
    ]


# ---- ends -----------------------------------------------------------------------------------------------------------


def test_cancelled_run_makes_no_further_call(router: Router, sim: Simulation, folder: Make) -> None:
    cancel, listen = after(1)
    run = Project(router, folder()).run(SEA, cancel=cancel, progress=listen)

    assert (run.end, run.output, type(run.error)) == (End.CANCELLED, None, CrewCancelled)
    assert len(sim.requests) == 1
    assert reserved(router) == 0 < run.cost_usd == scopes(router.guards.ledger)[0].settled_usd


def test_call_that_is_under_way_is_paid_and_the_next_one_not_made(
    slow: tuple[Simulation, Router], folder: Make
) -> None:
    (sim, router), cancel = slow, threading.Event()
    thread, ended = in_thread(Project(router, folder()), cancel=cancel)
    sim.wait_for_requests(1)
    until(lambda: reserved(router) > 0)
    cancel.set()
    thread.join()

    assert (ended[0].end, len(sim.requests)) == (End.CANCELLED, 1)
    assert reserved(router) == 0 < scopes(router.guards.ledger)[0].settled_usd


def test_cancelled_run_turns_to_no_fallback(folder: Make) -> None:
    with (
        simulate({"rules": [{"error": 429, "latency_ms": 300}]}, speed=0) as sim,
        Router.from_config(state=":memory:", base_url=sim.base_url, sink=Recorder()) as router,
    ):
        cancel = threading.Event()
        thread, ended = in_thread(Project(router, folder()), cancel=cancel)
        sim.wait_for_requests(1)
        cancel.set()
        thread.join()

        assert (ended[0].end, len(sim.requests)) == (End.CANCELLED, 1)
        assert reserved(router) == 0 == sum(one.settled_usd for one in router.guards.ledger.statuses())


def test_run_that_waits_for_a_person_can_be_cancelled(router: Router, sim: Simulation, folder: Make) -> None:
    cancel = threading.Event()
    thread, ended = in_thread(Project(router, folder(TASKS % (", approval: fast", ""))), cancel=cancel)
    until(lambda: len(router.guards.desk.pending()) == 1)
    cancel.set()
    thread.join()

    assert ended[0].end is End.CANCELLED
    assert sim.requests == []
    assert reserved(router) == 0


def test_run_that_was_cancelled_before_it_began_calls_nobody(router: Router, sim: Simulation, folder: Make) -> None:
    cancel = threading.Event()
    cancel.set()
    run = Project(router, folder()).run(SEA, cancel=cancel)

    assert (run.end, sim.requests) == (End.CANCELLED, [])
    assert run.error is not None
    assert fault_of(run.error).code == "cancelled"


def test_cancelled_after_the_last_call_is_finished(router: Router, folder: Make) -> None:
    cancel, listen = after(2)
    run = Project(router, folder()).run(SEA, cancel=cancel, progress=listen)

    assert (run.end, bool(run.output)) == (End.FINISHED, True)


def test_calls_past_the_router_are_cancelled_too(
    router: Router, sim: Simulation, folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_MOE_DISABLED", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", sim.base_url)
    cancel, listen = after(1)
    run = Project(router, folder(agents=AGENTS % "false\n  llm: gpt-4o")).run(SEA, cancel=cancel, progress=listen)

    assert (run.end, len(sim.requests)) == (End.CANCELLED, 1)


@pytest.mark.parametrize("policy", ["", "budgets: {on_exhausted: deny}"])
@pytest.mark.parametrize("budget", ["0.0000001", "0"])
def test_run_ends_within_its_budget(policy: str, budget: str, ruled: Ruled, sim: Simulation, folder: Make) -> None:
    router = ruled(policy)
    run = Project(router, folder()).run(SEA, budget_usd=budget)

    assert (run.end, run.output) == (End.OVER_BUDGET, None)
    assert run.cost_usd == 0
    assert sim.requests == []
    assert "budget" in str(run.error)


def test_budget_of_a_task_ends_it_too(router: Router, folder: Make) -> None:
    run = Project(router, folder(TASKS.replace("tier: fast", "pin: gpt-4o, budget_usd: 0.0000001") % ("", ""))).run(SEA)

    assert run.end is End.OVER_BUDGET


def test_person_who_says_no_ends_the_run(router: Router, sim: Simulation, folder: Make) -> None:
    on_duty(router, approve=False, why="too dear")
    run = Project(router, folder(TASKS % (", approval: fast", ""))).run(SEA)

    assert (run.end, sim.requests) == (End.REFUSED, [])
    assert run.error is not None
    assert fault_of(run.error).code == "approval_declined"


def test_gate_judges_by_who_asks(ruled: Ruled, folder: Make) -> None:
    router = ruled("gate: {above: fast, checks: [{has_any_role: {roles: [lead]}}]}")
    project = Project(router, folder(TASKS.replace("tier: fast", "pin: gpt-5") % ("", "")))
    ann, bob = Principal(subject="ann", roles=frozenset({"lead"})), Principal(subject="bob")

    assert project.run(SEA, principal=ann).end is End.FINISHED
    assert project.run(SEA, principal=bob).end is End.REFUSED


def test_tenant_of_the_caller_pays(router: Router, folder: Make) -> None:
    run = Project(router, folder()).run(SEA, principal=Principal(subject="ann", tenant="acme"))

    (tenant,) = scopes(router.guards.ledger, "tenant")
    assert (tenant.scope, tenant.settled_usd) == ("tenant:acme", run.cost_usd)


ASIDE: Final = """
first: {description: Count the fish, expected_output: Words, agent: writer, async_execution: true,
  routing: {pin: gpt-4o, budget_usd: 0.0000001}}
second: {description: Count the birds, expected_output: Words, agent: other, async_execution: true, tools: [lookup],
  routing: {pin: gpt-5}}
last: {description: Count both, expected_output: Words, agent: writer}
"""
OTHER: Final = "other: {role: Other, goal: Count, backstory: Years of practice}\n"


def test_run_that_ended_leaves_nobody_at_work(slow: tuple[Simulation, Router], folder: Make) -> None:
    sim, router = slow
    calling(sim, "gpt-5", 40)
    run = Project(router, folder(ASIDE, AGENTS % "false" + OTHER), tools={"lookup": lookup}).run({})
    asked = len(sim.requests)

    assert run.end is End.OVER_BUDGET
    assert reserved(router) == 0
    assert run.cost_usd == scopes(router.guards.ledger)[0].settled_usd
    with pytest.raises(SimulationError):
        sim.wait_for_requests(asked + 1, timeout_s=0.7)


def test_everybody_down_is_a_failure(router: Router, sim: Simulation, folder: Make) -> None:
    for provider in router.registry.providers:
        sim.kill(provider)
    run = Project(router, folder()).run(SEA)

    assert (run.end, run.ok, run.output) == (End.FAILED, False, None)
    assert run.tasks[0].error


def test_crew_that_breaks_by_itself_is_a_failure_and_still_tells_its_cost(
    router: Router, sim: Simulation, folder: Make
) -> None:
    for _ in range(20):
        sim.reply_with("gpt-4o-mini", '{"valid": false, "feedback": "It does not rhyme"}')
    tasks = (TASKS % (", pin: gpt-4o-mini", "")).replace("writer\n", "writer\n  guardrail: It must rhyme\n", 1)
    run = Project(router, folder(tasks)).run(SEA)

    assert (run.end, type(run.error)) == (End.FAILED, CrewFailed)
    assert "Traceback" not in str(run.error)
    assert run.cost_usd > 0


# ---- side by side ---------------------------------------------------------------------------------------------------


def test_runs_side_by_side_keep_to_themselves(slow: tuple[Simulation, Router], folder: Make) -> None:
    sim, router = slow
    project, heard = Project(router, folder()), {name: list[Progress]() for name in ("tea", "salt", "wool")}

    def one(topic: str) -> CrewRun:
        who = Principal(subject=topic, tenant=topic)
        return project.run({"topic": topic}, principal=who, budget_usd="1", progress=heard[topic].append)

    with ThreadPoolExecutor(3) as threads:
        runs = dict(zip(heard, threads.map(one, heard), strict=True))

    assert all(run.ok for run in runs.values())
    assert len({run.run_id for run in runs.values()}) == 3
    assert all([one.finished for one in told] == [0, 1, 1, 2] for told in heard.values())
    spent = {one.scope: one.settled_usd for one in scopes(router.guards.ledger, "tenant")}
    assert spent == {f"tenant:{topic}": run.cost_usd for topic, run in runs.items()}
    asked = [json.dumps(list(request.messages)) for request in sim.requests]
    assert all(sum(f"about {topic}." in text for topic in heard) == 1 for text in asked)


def test_one_of_two_runs_is_cancelled_alone(slow: tuple[Simulation, Router], folder: Make) -> None:
    sim, router = slow
    project, cancel = Project(router, folder()), threading.Event()
    first, one = in_thread(project, cancel=cancel)
    second, other = in_thread(project)
    sim.wait_for_requests(2)
    cancel.set()
    first.join()
    second.join()

    assert (one[0].end, other[0].end) == (End.CANCELLED, End.FINISHED)


def test_nothing_that_crewai_prints_is_heard(router: Router, folder: Make, capfd: pytest.CaptureFixture[str]) -> None:
    project = Project(router, folder(agents=AGENTS % "true"))
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(project.run, SEA) for _ in range(2)]
        print("the program's own")  # noqa: T201 - what is tested
        assert all(run.result().ok for run in runs)

    assert capfd.readouterr() == ("the program's own\n", "")


# ---- what is wrong --------------------------------------------------------------------------------------------------


def test_project_tells_its_tasks_and_what_they_need(router: Router, folder: Make) -> None:
    tasks = (TASKS % ("", "")).replace("deep.", "deep, {depth}, {routing_expert}, {routing_tier_polish}.")
    project = Project(router, folder(tasks))

    assert project.tasks == ("draft", "polish")
    assert project.placeholders == {"topic", "depth"}


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "inputs: missing: topic; allowed: topic"),
        ({"topics": "x"}, "inputs: missing: topic; unknown: topics; did you mean 'topic'?; allowed: topic"),
        ({"topic": ["secret"]}, "inputs: must be text, a number or a truth value: topic; allowed: topic"),
        ({"topic": "x", "routing_expert": "gpt-5"}, "inputs: unknown: routing_expert; allowed: topic"),
    ],
)
def test_wrong_inputs_are_named_in_one_error(
    inputs: dict[str, Any], told: str, router: Router, sim: Simulation, folder: Make
) -> None:
    with pytest.raises(InvalidInput) as caught:
        Project(router, folder()).run(inputs)

    assert str(caught.value) == told
    assert sim.requests == []


def test_budget_that_is_none_is_told_at_once(router: Router, folder: Make) -> None:
    with pytest.raises(InvalidInput, match="budget_usd"):
        Project(router, folder()).run(SEA, budget_usd="a lot")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("agent: writer", "agent: writer\n  human_input: true", "draft.human_input: asks somebody at the terminal"),
        ("agent: writer", "agent: writer\n  output_file: out/{topic}.md", "draft.output_file: lets callers choose"),
        ("tier: fast", "tier: fats", "tier"),
    ],
)
def test_wrong_files_are_told_before_any_run(old: str, new: str, told: str, router: Router, folder: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        Project(router, folder((TASKS % ("", "")).replace(old, new)))

    assert told in str(caught.value)


def test_folder_without_a_crew_is_told(router: Router, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        Project(router, tmp_path / "nowhere")
