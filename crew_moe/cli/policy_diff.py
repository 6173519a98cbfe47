"""`crew-moe policy diff`: what a candidate for policy.yaml would change in decisions that were made."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from crew_moe.cli.options import AsJson, Config, State, TaskTypeName, config_folder, durable, open_router
from crew_moe.cli.output import say, show_table, usd, write_json

if TYPE_CHECKING:
    from crew_moe.simulation import Change, NotDecidable, PolicyTrial

NOBODY: Final = "nobody"
WHY: Final = {
    "too_old": "their rows were written by an earlier version",
    "batch": "they were made in columns, which hold sizes alone",
    "service_type": "a choice among services goes by room, not by policy",
    "screened": "their text was stopped, and no expert was judged",
    "catalogue": "the catalogue was another one",
    "experience": "the candidate weighs experience another way",
    "who_asked": "a rule looks at who asked, and the rows do not tell",
    "names": "they ask for a profile or strategy that the candidate does not have",
    "chance": "the candidate's strategy leaves its pick to chance, and does not tell how",
    "not_predicted": "the candidate's strategy goes by predictions, and none were made then",
}


def diff(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A candidate for policy.yaml.")],
    last: Annotated[
        int, typer.Option("--last", metavar="N", help="How many of the newest decisions, up to 1000.")
    ] = 200,
    task_type: TaskTypeName = None,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make the newest decisions of a state again under another policy, and tell what would change. No model is called,
    and nothing is said about how good the answers would be.
    """
    from crew_moe.auth.caller import LOCAL
    from crew_moe.documents import read_text
    from crew_moe.surface.operations import Operations

    text, url = read_text(file), durable(state, "a comparison")
    with open_router(config_folder(config), url) as router:
        told = Operations(router).simulate(LOCAL, text, decisions=last, task_type=task_type)
    write_json(told.as_dict()) if as_json else _show(told)


def _show(told: PolicyTrial) -> None:
    say(f"{told.decided} of {told.seen} decisions were made again under {told.candidate}.", style="bold")
    if told.decided:
        say(f"{told.changed} would be another ({told.share_changed:.1%}).")
        say(
            f"Predicted cost of those that somebody serves: {usd(told.expected_usd_before)} before, "
            f"{usd(told.expected_usd_after)} after. Nobody may serve: {told.infeasible_before} before, "
            f"{told.infeasible_after} after."
        )
    moved = [move for move in told.moves if move.before != move.after]
    if moved:
        say()
        show_table(
            ("Before", "After", ">Decisions"),
            ((move.before or NOBODY, move.after or NOBODY, move.count) for move in moved),
        )
        say()
        show_table(("!Example", "Task type", "Before", "After"), (_example(one) for one in told.examples))
    for one in told.not_decidable:
        say(_excuse(one), style="dim")
    if told.left_alone:
        say(f"Not tried, though the candidate differs in them: {', '.join(told.left_alone)}.", style="dim")


def _example(one: Change) -> tuple[object, ...]:
    return one.decision_id, one.task_type, _who(one.before, one.before_usd), _who(one.after, one.after_usd)


def _who(expert_id: str | None, cost: Decimal | None) -> str:
    if expert_id is None:
        return NOBODY
    return expert_id if cost is None else f"{expert_id} ({usd(cost)})"


def _excuse(one: NotDecidable) -> str:
    return f"{one.count} could not be made again: {WHY[one.reason]} ({', '.join(one.decision_ids)})."
