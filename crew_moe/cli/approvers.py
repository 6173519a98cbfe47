"""Who answers when a call of `crew-moe run` is held: somebody at the terminal, or nobody.

A question that is kept in a durable state can be answered from elsewhere too (`crew-moe approve`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Final

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
    """Asks the person at the terminal, on a thread of its own: the run waits, but other tasks go on."""

    desk: Desk
    name: str
    ask: Callable[[str], str] = input

    def asked(self, approval: Approval) -> None:
        """Implements gating.approval.Approver."""
        Thread(target=self._ask, args=(approval,), name="crew-moe-approver", daemon=True).start()

    def _ask(self, approval: Approval) -> None:
        from crew_moe.gating.approval import Operator

        sys.stderr.write(f"\nHeld: {harmless(approval.summary)}\nApprove? [y/N] ")
        sys.stderr.flush()
        try:
            said = self.ask("")
        except EOFError:
            return  # nobody is there any more; the question ends by itself
        approve = said.strip().casefold() in YES
        self.desk.answer(approval.id, approve=approve, by=Operator(name=self.name), why="answered at the terminal")
