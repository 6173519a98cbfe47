"""Questions on a console."""

from __future__ import annotations

from crew_moe.gating.answer import Outcome
from crew_moe.gating.console import Console
from tests.gating.given import LEAD, Stage, call


def test_line_says_what_is_asked_and_how_to_answer() -> None:
    stage = Stage()
    lines: list[str] = []
    stage.desk.attach(Console(lines.append))

    stage.desk.ask(call(), roles=["lead", "admin"], reason="needs_approval")

    (line,) = lines
    assert line.startswith("approval needed (admin or lead): premium expert o1 for task audit")
    assert "until 12:15:00 UTC" in line
    assert stage.desk.answer(line.rsplit(maxsplit=1)[1], approve=True, by=LEAD).outcome is Outcome.TAKEN
