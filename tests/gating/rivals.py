"""A process that answers or uses approvals beside others: `python -m tests.gating.rivals WHAT URL NAME`.

It says when it is ready, begins when it is told to, and prints which approvals it got.
"""

from __future__ import annotations

import sys

from crew_moe.domain.principal import Principal
from crew_moe.gating.approval import Desk
from crew_moe.state import open_approvals
from tests.gating.given import Stage, call

QUESTIONS = 25


def answers(desk: Desk, name: str, number: int, approval_id: str) -> bool:
    """Approve or deny; both ways are tried by every rival, the first of all holds."""
    who = Principal(subject=name, tenant="acme", roles=frozenset({"lead"}))
    return desk.answer(approval_id, approve=(number + len(name)) % 2 == 0, by=who).ok


def uses(desk: Desk, name: str, number: int, approval_id: str) -> bool:
    """Use what was approved."""
    del name
    return desk.redeem(call(digest=f"d{number}"), approval_id).allowed


def main() -> None:
    what, url, name = sys.argv[1:]
    desk = Stage(approvals=open_approvals(url)).desk
    print("ready", flush=True)  # noqa: T201 - how the parent hears of it
    ids = sys.stdin.readline().split()
    work = {"answers": answers, "uses": uses}[what]
    won = [approval_id for number, approval_id in enumerate(ids) if work(desk, name, number, approval_id)]
    print(*won, flush=True)  # noqa: T201 - how the parent hears of it


if __name__ == "__main__":
    main()
