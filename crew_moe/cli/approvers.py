"""Who answers when a call of `crew-moe run` is held: somebody at the terminal, somebody elsewhere, or nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final, TextIO

from crew_moe.cli.output import harmless

if TYPE_CHECKING:
    from crew_moe.domain.approval import Approval
    from crew_moe.gating.approval import Desk

YES: Final = frozenset({"y", "yes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Gives every question the same answer at once, under a name that says who that is."""

    desk: Desk
    approve: bool
    name: str
    why: str

    def asked(self, approval: Approval) -> None:
        """Implements gating.approval.Approver."""
        from crew_moe.gating.approval import Operator

        self.desk.answer(approval.id, approve=self.approve, by=Operator(name=self.name), why=self.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtTerminal:
    """Asks the person at the terminal, on a thread of its own: the run waits, but other tasks go on.

    `screen` is what that person sees, `paused` keeps everything else off it, and `typed` gives a line, empty when
    nobody is there any more.
    """

    desk: Desk
    name: str
    screen: TextIO
    paused: Callable[[], AbstractContextManager[None]]
    typed: Callable[[], str]
    _turn: Lock = field(default_factory=Lock)

    def asked(self, approval: Approval) -> None:
        """Implements gating.approval.Approver."""
        Thread(target=self._ask, args=(approval,), name="crew-moe-approver", daemon=True).start()

    def _ask(self, approval: Approval) -> None:
        from crew_moe.domain.approval import ApprovalState
        from crew_moe.gating.approval import Operator

        with self._turn, self.paused():
            known = self.desk.get(approval.id)
            if known is None or known.state is not ApprovalState.PENDING:
                return  # it was answered from elsewhere, or closed, while another question stood here
            self._say(f"\nHeld: {harmless(approval.summary)}\nApprove? [y/N] ")
            said = self.typed()
            if not said:
                return  # the question stays open for somebody else, and ends by itself
            approve = said.strip().casefold() in YES
            answer = self.desk.answer(
                approval.id, approve=approve, by=Operator(name=self.name), why="answered at the terminal"
            )
            if not answer.ok:
                self._say(f"Too late or not allowed: {answer}.\n")

    def _say(self, text: str) -> None:
        self.screen.write(text)
        self.screen.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Says which command answers a question that is kept in a state; `state` is its URL as it may be shown."""

    screen: TextIO
    state: str

    def asked(self, approval: Approval) -> None:
        """Implements gating.approval.Approver."""
        told = f"Held: {approval.summary}\nAnswer with: crew-moe approve {approval.id} --state {self.state}"
        self.screen.write(f"{harmless(told)}\n")
        self.screen.flush()


def typed_line() -> str:
    """A line from this process's terminal.

    It is read through a file object of its own: a thread that still waits in sys.stdin when the process ends would turn
    that end into a fatal error.
    """
    with open(sys.stdin.fileno(), encoding="utf-8", errors="replace", closefd=False) as keyboard:
        return keyboard.readline()
