"""The commands and groups of `crew-moe`."""

from __future__ import annotations

from typing import Annotated

import typer

from crew_moe.cli import (
    approve,
    budget,
    doctor,
    experiment,
    experts,
    feedback,
    init,
    keys,
    learn,
    local,
    mcp,
    pins,
    plan,
    policy,
    quality,
    registry,
    route,
    run,
    safety,
    serve,
)
from crew_moe.cli.logs import configure_logs
from crew_moe.cli.output import say
from crew_moe.cli.versions import package_version

app = typer.Typer(
    name="crew-moe",
    help="Every task of a CrewAI crew on the right expert, inside its budget, with the reason on record.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    run,
    plan,
    route,
    experts,
    pins,
    budget,
    approve,
    keys,
    feedback,
    learn,
    registry,
    policy,
    quality,
    experiment,
    safety,
    serve,
    mcp,
    local,
    init,
    doctor,
):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        say(package_version())
        raise typer.Exit


@app.callback()
def session(
    debug: Annotated[bool, typer.Option("--debug", help="Log everything, and show tracebacks of errors.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    configure_logs(debug=debug)
