"""A process that takes, asks, answers, uses or counts beside others: `python -m tests.state.rivals WHAT URL NAME`.

It says when it is ready, begins when it is told to, and prints what it got.
"""

from __future__ import annotations

import sys
from typing import Final

from crew_moe.domain.meter import Demand, Passage, Rate
from crew_moe.state import open_approvals, open_meters, open_pages
from tests.state.given import NOW
from tests.state.questions import approval_of

ATTEMPTS: Final = 40
COUNTED: Final = 250
QUESTIONS: Final = tuple(f"q{number}" for number in range(20))
DEMANDS: Final = (
    Demand(key="expert:a", rates=(Rate(name="requests", capacity=50, per_s=60.0),), concurrent=30),
    Demand(key="cooldown:c", rates=(Rate(name="calls", capacity=1_000, per_s=60.0),)),
)


def takes(url: str, _: str) -> list[str]:
    """The ids of its passages; every second one is given back, its rates as if nothing had been used."""
    meters = open_meters(url)
    begin()
    taken = [meters.take(DEMANDS, NOW) for _ in range(ATTEMPTS)]
    passages = [answer.id for answer in taken if isinstance(answer, Passage)]
    for passage_id in passages[::2]:
        meters.give_back(passage_id, NOW, used={"requests": 0.0, "calls": 0.0})
    return passages


def asks(url: str, name: str) -> list[str]:
    """The questions that it was the first to ask."""
    approvals = open_approvals(url)
    begin()
    wanted = [approval_of(f"{name}-{one}", digest=one) for one in QUESTIONS]
    return [one.digest for one in wanted if approvals.ask(one) == one]


def answers(url: str, name: str) -> list[str]:
    """The questions of which its own answer holds."""
    approvals = open_approvals(url)
    begin()
    found = [(one, approvals.answer(one, approve=True, by=name, why="", now=NOW)) for one in QUESTIONS]
    return [one for one, answered in found if answered is not None and answered.decided_by == name]


def uses(url: str, _: str) -> list[str]:
    """The approvals that it used up."""
    approvals = open_approvals(url)
    begin()
    return [one for one in QUESTIONS if approvals.use(one, digest=one, expert_id="o1", max_cost_nano=1, now=NOW)]


def counts(url: str, name: str) -> list[str]:
    """Its name as often as it moved a number on a page that all of them move."""
    pages = open_pages(url)
    begin()
    done = 0
    while done < COUNTED:
        page = pages.read("number", NOW)
        before, content = (0, b"0") if page is None else (page.version, page.content)
        done += pages.write("number", b"%d" % (int(content) + 1), NOW, over=before)
    return [name] * done


def begin() -> None:
    """Wait for the word."""
    print("ready", flush=True)  # noqa: T201 - how the parent hears of it
    sys.stdin.readline()


if __name__ == "__main__":
    program = {work.__name__: work for work in (takes, asks, answers, uses, counts)}[sys.argv[1]]
    print(*program(*sys.argv[2:]), flush=True)  # noqa: T201 - how the parent hears of it
