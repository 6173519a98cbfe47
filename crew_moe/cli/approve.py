"""`crew-moe approve`: answer the questions that held calls wait for."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from crew_moe.cli.options import AsJson, Config, State, durable, open_router
from crew_moe.cli.output import say, show_table, write_json

if TYPE_CHECKING:
    from crew_moe.domain.approval import Approval

REFUSED: Final = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("approve")(approve)


def approve(
    approval_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The question, or the first 6 characters; none: list them.")
    ] = None,
    deny: Annotated[bool, typer.Option("--deny", help="Say no.")] = False,
    why: Annotated[str, typer.Option("--why", help="Kept with the answer.")] = "",
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who answers; default: your user name.")
    ] = None,
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
        answer = router.guards.desk.answer(
            approval_id, approve=not deny, by=Operator(name=by or getpass.getuser()), why=why
        )
        router.log.flush()
    found = None if answer.approval is None else answer.approval.as_dict()
    if as_json:
        write_json({"ok": answer.ok, "outcome": answer.outcome.value, "approval": found})
    else:
        say(f"{answer}." if found is None else f"{found['summary']}: {answer}.")
    return 0 if answer.ok else REFUSED


def _list(pending: Sequence[Approval], as_json: bool) -> None:
    if as_json:
        write_json({"pending": [one.as_dict() for one in pending]})
        return
    if not pending:
        say("Nothing waits for an answer.")
        return
    show_table(
        ("!ID", "What", "Asked by", "!Until"),
        [(one.id, one.summary, one.asked_by, f"{one.expires_at:%H:%M:%S} UTC") for one in pending],
    )
    say("Answer with: crew-moe approve ID [--deny] [--why ...]")
