"""What the decision log is told of the local gate's requests: who was chosen by what, and whether it served."""

from __future__ import annotations

import os
from functools import partial

from crew_moe.local_gate.features import TextFeatures
from crew_moe.local_gate.gate.choice import GateChoice
from crew_moe.local_gate.gate.log import gate_row, named_row, outcome_row
from crew_moe.ports import DecisionLog


class Notes:
    """Rows that a gate can be trained from (`gate.log`), with numbers of the text and none of its words. Without a log,
    nothing is noted and every id is "".
    """

    def __init__(self, log: DecisionLog | None, version: str) -> None:
        self._log = log
        self._version = version

    def chose(self, choice: GateChoice) -> str:
        """A choice of the gate; the id of its row."""
        if self._log is None:
            return ""
        decision_id = _new_id()
        self._log.append(decision_id, partial(gate_row, decision_id, choice, version=self._version))
        return decision_id

    def named(self, expert: str, seen: TextFeatures) -> str:
        """A choice of the caller's; the id of its row."""
        if self._log is None:
            return ""
        decision_id = _new_id()
        self._log.append(decision_id, partial(named_row, decision_id, expert, seen))
        return decision_id

    def served(self, decision_id: str, expert: str, *, success: bool) -> None:
        """How the last expert that was asked did."""
        if self._log is not None and decision_id:
            self._log.append(f"{decision_id}/served/1", partial(outcome_row, decision_id, expert, success=success))


def _new_id() -> str:
    return f"l-{os.urandom(8).hex()}"
