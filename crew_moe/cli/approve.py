"""`crew-moe approve`: answer the questions that held calls wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from crew_moe.cli.options import AsJson, By, Config, State, durable, open_router, user_name
from crew_moe.cli.output import fail, say, show_table, write_json

if TYPE_CHECKING:
    from crew_moe.domain.approval import Approval
    from crew_moe.gating.answer import Answer

REFUSED: Final = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("approve")(approve)


def approve(
    approval_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The question, or the first 6 characters; none: list them.")
    ] = None,
    deny: Annotated[bool, typer.Option("--deny", help="Say no.")] = False,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Kept with the answer.")] = "",
    by: By = None,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> int:
    """Approve (or deny) a call that is held; without an ID show what waits.

    Whoever may write the state may answer here: roles are asked of those who answer through a service.
    """
    from crew_moe.gating.approval import Operator

    with open_router(config, durable(state, "an approval")) as router:
        if approval_id is None:
            _list(router.guards.desk.pending(), as_json)
            return 0
        operator = Operator(name=by or user_name())
        answer = router.guards.desk.answer(approval_id, approve=not deny, by=operator, why=why)
        router.log.flush()
    return (_answer_json if as_json else _tell)(answer)


def _answer_json(answer: Answer) -> int:
    found = None if answer.approval is None else answer.approval.as_dict()
    write_json({"ok": answer.ok, "outcome": answer.outcome.value, "approval": found})
    return 0 if answer.ok else REFUSED


def _tell(answer: Answer) -> int:
    told = f"{answer}." if answer.approval is None else f"{answer.approval.summary}: {answer}."
    if not answer.ok:
        return fail(told, REFUSED)
    say(told)
    return 0


def _list(pending: Sequence[Approval], as_json: bool) -> None:
    if as_json:
        write_json({"pending": [one.as_dict() for one in pending]})
        return
    if not pending:
        say("Nothing waits for an answer.")
        return
    show_table(
        ("!ID", "What", "?Asked by", "!Until (UTC)"),
        [(one.id, one.summary, one.asked_by, f"{one.expires_at:%m-%d %H:%M}") for one in pending],
    )
    say("Answer with: crew-moe approve ID [--deny] [--why ...]")
