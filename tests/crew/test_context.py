"""What tasks and agents may say of their routing, and what it says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from crew_moe.crew.crew_run import End
from crew_moe.crew.project import Project
from crew_moe.domain.principal import Principal
from crew_moe.errors import ConfigError
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.crew.guarded import Make, Ruled, scopes
from tests.crew.projects import AGENTS, SEA, TASKS, said


def test_tasks_are_told_of_their_own_routing(router: Router, sim: Simulation, folder: Make) -> None:
    tasks = TASKS.replace(
        "about {topic}.", "on {topic} as {routing_expert} ({routing_tier}), then {routing_fallbacks}."
    ) % (", budget_usd: 0.25, fallbacks: [gpt-4o-mini]", ", pin: gpt-4o")
    run = Project(router, folder(tasks)).run(SEA)

    draft = run.routing["draft"]
    assert draft.fallbacks == ("gpt-4o-mini",)
    assert f"on the sea as {draft.expert_id} (fast), then gpt-4o-mini." in said(sim)
    assert "on the sea as gpt-4o (" in said(sim, 1)


def test_anybody_may_be_told_of_a_task_by_its_name(router: Router, sim: Simulation, folder: Make) -> None:
    agents = (AGENTS % "false").replace(
        "Years of practice", "Colleague of {routing_expert_polish}, on {routing_budget_usd_draft}"
    )
    run = Project(router, folder(TASKS % (", budget_usd: 0.25", ""), agents)).run(SEA)

    assert f"Colleague of {run.routing['polish'].expert_id}, on 0.25" in said(sim)


def test_whole_context_may_be_read_too(router: Router, sim: Simulation, folder: Make) -> None:
    Project(router, folder((TASKS % ("", "")).replace("deep.", "deep. {routing}"))).run(SEA)

    assert '\\"expert_id\\"' in said(sim).replace("'", '\\"')


def test_nobody_and_no_limit_have_words(router: Router, sim: Simulation, folder: Make) -> None:
    tasks = (TASKS % ("", ", min_quality: 0.999")).replace(
        "is deep.", "is {routing_budget_usd} for {routing_expert_polish}."
    )
    run = Project(router, folder(tasks)).run(SEA)

    assert "The sea is unlimited for nobody." in said(sim)
    assert run.end is End.REFUSED
    assert [row.task for row in run.tasks] == ["draft", "polish"]


def test_budget_is_the_least_that_is_left_anywhere(ruled: Ruled, folder: Make) -> None:
    router = ruled("budgets: {limits: {'tenant:acme': {usd: 3, window: month}, 'user:*': {usd: 9, window: day}}}")
    project, ann = Project(router, folder(TASKS % (", budget_usd: 0.5", ""))), Principal(subject="ann", tenant="acme")

    def left(**options: Any) -> list[Decimal | None]:
        return [one.budget_usd for one in project.run(SEA, **options).routing.values()]

    assert left() == [Decimal("0.5"), None]
    assert left(budget_usd="0.25") == [Decimal("0.25"), Decimal("0.25")]
    assert left(principal=ann, budget_usd="5") == [Decimal("0.5"), Decimal(3)]
    (tenant,) = scopes(router.guards.ledger, "tenant")
    assert left(principal=ann)[1] == Decimal(3) - tenant.settled_usd < 3


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("routing_exprt", "unknown placeholder {routing_exprt}; did you mean 'routing_expert'"),
        ("routing_expert_polsh", "did you mean 'routing_expert_polish'"),
    ],
)
def test_words_that_nobody_fills_in_are_told_before_any_run(word: str, told: str, router: Router, folder: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        Project(router, folder((TASKS % ("", "")).replace("deep.", f"deep. {{{word}}}")))

    assert told in str(caught.value)


def test_agents_must_say_which_task_they_speak_of(router: Router, folder: Make) -> None:
    agents = (AGENTS % "false").replace("Write well", "Write as {routing_tier}")

    with pytest.raises(ConfigError, match=r"have to name the task.*routing_tier_draft, routing_tier_polish"):
        Project(router, folder(agents=agents))
