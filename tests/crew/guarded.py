"""Routers under a policy of their own, people who answer, and somebody who watches the money."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

from crewai import Crew
from crewai.tools import tool

from crew_moe.clock import ManualClock
from crew_moe.domain.approval import Approval
from crew_moe.domain.budget import ScopeStatus
from crew_moe.domain.principal import Principal
from crew_moe.domain.usage import Usage
from crew_moe.errors import CrewMoEError
from crew_moe.gating.approval import Desk, Operator
from crew_moe.ports import Ledger
from crew_moe.router import Router
from crew_moe.sim import Simulation
from crew_moe.telemetry.events import Recorder

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
Make = Callable[..., Any]

OFFICER: Final = Operator(name="officer")
_CITIES: Final = count()


class Ruled(Protocol):
    """Makes a router over a policy.yaml with this text."""

    def __call__(self, policy: str = "", **options: Any) -> Router: ...


@contextmanager
def ruling(folder: Path, base_url: Any) -> Iterator[Ruled]:
    """Routers over the policies that a test writes; closed when it ends."""
    made: list[Router] = []

    def make(policy: str = "", **options: Any) -> Router:
        config = folder / f"config{len(made)}"
        config.mkdir()
        (config / "policy.yaml").write_text(policy or "{}", encoding="utf-8")
        given = {"state": ":memory:", "base_url": base_url, "sink": Recorder(), **options}
        made.append(Router.from_config(config, **given))
        return made[-1]

    yield make
    for router in made:
        router.close()


def by_hand(router: Router) -> ManualClock:
    """The router's clock, which only waiting calls move."""
    clock = router.clock
    assert isinstance(clock, ManualClock)
    router.executor._sleep = clock.advance
    return clock


@dataclass
class Person:
    """Implements Approver: answers every question as soon as it is asked, and remembers it."""

    desk: Desk
    approve: bool = True
    why: str = ""
    by: Principal | Operator = OFFICER
    asked_about: list[Approval] = field(default_factory=list)

    def asked(self, approval: Approval) -> None:
        self.asked_about.append(approval)
        self.desk.answer(approval.id, approve=self.approve, by=self.by, why=self.why)

    @property
    def experts(self) -> list[str]:
        """Whom the questions were about."""
        return [approval.expert_id for approval in self.asked_about]


def on_duty(router: Router, **answers: Any) -> Person:
    """Somebody at the router's desk."""
    person = Person(router.guards.desk, **answers)
    router.guards.desk.attach(person)
    return person


@contextmanager
def watched(ledger: Ledger, limit_usd: str, kind: str = "run") -> Iterator[list[ScopeStatus]]:
    """Look at the scopes of a kind all the while; gives those that were seen to pass the limit."""
    passed: list[ScopeStatus] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.0005):
            passed.extend(one for one in scopes(ledger, kind) if _carried(one) > Decimal(limit_usd))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield passed
    finally:
        done.set()
        watcher.join()
        passed.extend(one for one in scopes(ledger, kind) if _carried(one) > Decimal(limit_usd))


def scopes(ledger: Ledger, kind: str = "run") -> list[ScopeStatus]:
    """How all scopes of a kind stand."""
    return [one for one in ledger.statuses() if one.scope.startswith(f"{kind}:")]


def _carried(status: ScopeStatus) -> Decimal:
    return status.settled_usd + status.reserved_usd + status.overrun_usd


@tool("lookup")
def lookup(city: str) -> str:
    """Population of a city."""
    return f"{city}: 4 million"


def calling(sim: Simulation, expert_id: str, times: int, name: str = "lookup", **arguments: Any) -> None:
    """Queue so many answers that call a tool; without arguments about another city each time, as CrewAI wants it."""
    for _ in range(times):
        given = arguments or {"city": f"City {next(_CITIES)}"}
        sim.reply_with(expert_id, tool_calls=[{"name": name, "arguments": given}])


def answering(sim: Simulation, expert_id: str, times: int, *, tokens: int) -> None:
    """Queue so many answers of a known price."""
    for _ in range(times):
        sim.reply_with(expert_id, "Done.", usage=Usage(input_tokens=400, output_tokens=tokens))


def solo_of(agent: Make, task: Make, **fields: Any) -> Crew:
    """A crew of one agent and one task."""
    member = agent(**fields)
    return Crew(agents=[member], tasks=[task("only", member)])


def spent(router: Router, kind: str = "run") -> Decimal:
    """What all scopes of a kind have settled and hold."""
    found = scopes(router.guards.ledger, kind)
    return sum((one.settled_usd + one.reserved_usd + one.overrun_usd for one in found), Decimal(0))


def ends(crew: Crew) -> Exception | None:
    """Kick it off; the typed error that it ended with."""
    try:
        crew.kickoff()
    except CrewMoEError as error:
        return error
    return None
