"""Providers that are down: the crew goes on while anybody eligible is alive, and says whom it tried if nobody is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest
from crewai import Crew

from crew_moe.crew import attach, report
from crew_moe.domain.outcome import ErrorClass
from crew_moe.errors import ExecutionFailed
from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from tests.crew.playing import run

PROVIDERS = ("anthropic", "openai", "google", "mistral", "cohere")
SUBSETS = [dead for size in range(1, 6) for dead in combinations(PROVIDERS, size)]


@pytest.fixture
def refusing(providers: Simulation) -> Iterator[Callable[[tuple[str, ...]], Router]]:
    """A router over providers of which some refuse connections."""
    made: list[tuple[Router, tuple[str, ...]]] = []

    def start(dead: tuple[str, ...]) -> Router:
        for provider in dead:
            providers.kill(provider)
        urls = {provider: providers.base_url_of(provider) for provider in PROVIDERS}
        made.append((Router.from_config(state=":memory:", base_url=urls), dead))
        return made[-1][0]

    yield start
    for router, dead in made:
        router.close()
        for provider in dead:
            providers.revive(provider)


@pytest.mark.parametrize("dead", SUBSETS[:-1], ids="+".join)
def test_crew_finishes_while_one_provider_is_alive(
    dead: tuple[str, ...], refusing: Callable[[tuple[str, ...]], Router], crew: Crew
) -> None:
    router = refusing(dead)
    assert run(attach(crew, router=router)).raw
    for row in report(crew).tasks:
        failed = [attempt for attempt in row.attempts if not attempt.ok]
        assert row.attempts[-1].ok
        assert router.registry[str(row.expert_id)].provider not in dead
        assert {attempt.error for attempt in failed} <= {ErrorClass.CONNECTION, ErrorClass.CIRCUIT_OPEN}
        assert [switch.from_expert for switch in row.switches if switch.fallback] == [a.expert_id for a in failed]


def test_dead_providers_end_the_crew_with_every_attempt(
    refusing: Callable[[tuple[str, ...]], Router], crew: Crew
) -> None:
    router = refusing(PROVIDERS)
    with pytest.raises(ExecutionFailed) as caught:
        attach(crew, router=router).kickoff()
    attempts = caught.value.attempts
    assert {router.registry[attempt.expert_id].provider for attempt in attempts} == set(PROVIDERS)
    assert all(attempt.expert_id in str(caught.value) for attempt in attempts)
    assert report(crew).tasks[0].attempts == attempts
    assert len(report(crew).tasks) == 1


@pytest.mark.parametrize("budget_usd", ["0.5", "0.09"])
def test_failures_at_unknown_prices_end_a_task_only_when_its_money_is_gone(
    budget_usd: str, crew: Crew, routing: Callable[[str], Path]
) -> None:
    path = routing(
        "default: {pin: gpt-4o, fallbacks: [claude-sonnet-4, gemini-pro-1.5, mistral-large-2], max_output_tokens: 2000,"
        f" budget_usd: {budget_usd}}}"
    )
    rules = [{"expert": dead, "error": 500} for dead in ("gpt-4o", "claude-sonnet-4", "gemini-pro-1.5")]
    with (
        simulate({"rules": rules}, speed=0) as sim,
        Router.from_config(state=":memory:", base_url=sim.base_url) as router,
    ):
        run(attach(crew, path, router=router))
        row = report(crew).tasks[0]
    assert row.expert_id == "mistral-large-2"
    assert sum(attempt.unsettled_usd for attempt in row.attempts) <= Decimal(budget_usd)
