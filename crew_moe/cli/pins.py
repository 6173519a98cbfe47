"""`crew-moe pin` and `crew-moe unpin`: send requests to one expert by hand, for a while or until taken back."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from crew_moe.cli.options import (
    AsJson,
    Config,
    State,
    TaskTypeName,
    Tenant,
    config_folder,
    durable,
    one_of,
    open_router,
)
from crew_moe.cli.output import say, write_json
from crew_moe.errors import InvalidInput

TaskName = Annotated[str | None, typer.Option("--task", metavar="NAME", help="A task's name in tasks.yaml.")]
BY = "command line"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pin")(pin)
    app.command("unpin")(unpin)


def pin(
    expert_id: Annotated[str, typer.Argument(metavar="EXPERT", help="Who is to serve.")],
    task_type: TaskTypeName = None,
    task: TaskName = None,
    tenant: Tenant = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="How long; default: until unpinned.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the pin.")] = "",
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Send matching requests to one expert alone. Crews that run on the same state follow at their next call."""
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise InvalidInput(f"{minutes:g} is no duration", where="--minutes", allowed=("a finite number above 0",))
    _check(config, expert_id, task_type)
    url = durable(state, "a pin")
    with open_router(config, url) as router:
        made = router.pin(
            expert_id, task_type=task_type, task=task, tenant=tenant, minutes=minutes, reason=reason, by=BY
        )
    until = made.expires_at.isoformat() if made.expires_at else None
    if as_json:
        write_json(
            {
                "expert_id": made.expert_id,
                "task_type": made.task_type,
                "task": made.task,
                "tenant": made.tenant,
                "reason": made.reason,
                "expires_at": until,
            }
        )
        return
    say(f"{_scope(task_type, task, tenant)} go to {expert_id} {f'until {until}' if until else 'until unpinned'}.")


def unpin(
    expert_id: Annotated[str | None, typer.Argument(metavar="[EXPERT]", help="Whose pins; default: any.")] = None,
    task_type: TaskTypeName = None,
    task: TaskName = None,
    tenant: Tenant = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove every pin.")] = False,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Remove the pins that match every field given."""
    if not everything and not any((expert_id, task_type, task, tenant)):
        raise InvalidInput("say which pins", where="unpin", allowed=("an expert", "a scope", "--all"))
    _check(config, expert_id, task_type)
    url = durable(state, "a pin")
    with open_router(config, url) as router:
        removed = router.unpin(expert_id, task_type=task_type, task=task, tenant=tenant)
    if as_json:
        write_json({"removed": removed})
    else:
        say(f"{removed} pin{'' if removed == 1 else 's'} removed.")


def _check(config: Config, expert_id: str | None, task_type: str | None) -> None:
    """Raise InvalidInput for an expert or a task type that does not exist, before any state is opened."""
    from crew_moe.catalog import load_registry
    from crew_moe.domain.task import TaskType

    one_of(task_type, list(TaskType), "--task-type")
    if expert_id is not None:
        _ = load_registry(config_folder(config))[expert_id]


def _scope(task_type: str | None, task: str | None, tenant: str | None) -> str:
    named = (("of type", task_type), ("of task", task), ("of tenant", tenant))
    return " ".join(["Requests", *(f"{noun} {name}" for noun, name in named if name)])
