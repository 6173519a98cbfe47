"""A process with a crew of its own: `python -m tests.acceptance.crew_child STATE BASE_URL CONFIG`.

Says on stdout how its crew ended, `done` or the name of the error, and what it has cost. Then it ends at once, as a
process does that is killed: calls that are under way are left to their leases.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from crewai import Agent, Crew, Task

from crew_moe.crew import attach, report
from crew_moe.domain.principal import Principal
from crew_moe.router import Router
from tests.crew.guarded import ends, lookup

TENANT: Final = "acme"
ENDED: Final = "ended:"
ROUTING: Final = "default: {tier: premium, requires: [tools], max_output_tokens: 400}"


def team_of(size: int) -> Crew:
    """Agents with a tool that work side by side, and one that sums up."""
    members = [
        Agent(role=f"Analyst {index}", goal="Do it well", backstory="Years", tools=[lookup], max_iter=60)
        for index in range(size)
    ]
    tasks = [
        Task(name=f"part-{index}", description=f"Part {index}", expected_output="It", agent=one, async_execution=True)
        for index, one in enumerate(members)
    ]
    return Crew(agents=members, tasks=[*tasks, Task(description="Sum up", expected_output="It", agent=members[0])])


def main(state: str, base_url: str, config: str) -> None:
    router = Router.from_config(config, state=state, base_url=base_url)
    who = Principal(subject="ann", tenant=TENANT)
    crew = attach(team_of(3), Path(config) / "routing.yaml", router=router, principal=who)
    error = ends(crew)
    how = "done" if error is None else type(error).__name__
    sys.stdout.write(f"\n{ENDED} {how} {report(crew).cost_usd}\n")  # in one piece: other threads still talk
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
