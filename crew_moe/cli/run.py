"""`crew-moe run`: a real crew on real routing, over simulated providers or, with --live, over the real ones."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from crew_moe.cli.options import AsJson, Config, State
from crew_moe.domain.money import parse_usd
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.cli.material import Material
    from crew_moe.cli.progress import Progress
    from crew_moe.cli.run_view import Run
    from crew_moe.cli.stage import Stage


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    document: Annotated[
        str | None, typer.Argument(metavar="[DOCUMENT]", help="A text file, or - for stdin; default: the demo's.")
    ] = None,
    config: Config = None,
    live: Annotated[
        bool, typer.Option("--live", help="Call real providers: those whose keys are in the environment.")
    ] = False,
    script: Annotated[
        Path | None, typer.Option("--script", metavar="FILE", help="What goes wrong at the simulated providers.")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME=VALUE", help="A value for a placeholder; repeatable.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="USD", help="The most that the run may cost, whatever fails.")
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Run a crew: the demonstration crew, or that of --config. Providers are simulated unless --live is given."""
    from crew_moe.cli.material import load_material
    from crew_moe.cli.progress import Progress
    from crew_moe.cli.run_view import run_json, show_run
    from crew_moe.cli.stage import live_stage, simulated_stage
    from crew_moe.settings import read_settings

    if live and script is not None:
        raise InvalidInput("a script is for simulated providers, not for --live", where="--script")
    if read_settings().disabled:
        raise InvalidInput("routing is switched off, so nothing would be routed", where="CREW_MOE_DISABLED")
    if budget is not None:
        parse_usd(budget, where="--budget")
    material = load_material(config, document, given or ())
    with Progress(list(material.files.tasks)) as progress:
        opened = live_stage(material, state, progress) if live else simulated_stage(material, state, progress, script)
        with opened as stage:
            done = _kickoff(stage, material, progress, budget)
    (run_json if as_json else show_run)(done)
    if done.error is not None:
        raise done.error


def _chatter(material: Material) -> TextIO | None:
    """Where to put what CrewAI prints: stdout is for the answer, and only what is meant to be heard is.

    That is a verbose agent, and a task that asks somebody and waits for the answer.
    """
    files = material.files
    verbose = any(entry.get("verbose") for entry in files.agents.values() if isinstance(entry, Mapping))
    asks = any(entry.get("human_input") for entry in files.tasks.values() if isinstance(entry, Mapping))
    return sys.stderr if verbose or asks else None


def _kickoff(stage: Stage, material: Material, progress: Progress, budget: str | None) -> Run:
    """Build the crew and run it to its end, or to the error that ended it."""
    from crew_moe.crew.quiet import hush

    hush()
    from crew_moe.cli.run_view import Run
    from crew_moe.crew import kick_off
    from crew_moe.crew.context import speaks_of_routing

    progress.begin()
    ended = kick_off(
        stage.router,
        material.files,
        material.inputs,
        foresee=speaks_of_routing(material.files),
        budget_usd=None if budget is None else parse_usd(budget, where="--budget"),
        told=progress.told,
        chatter=_chatter(material),
    )
    return Run(stage=stage, document=material.document, report=ended.report, output=ended.output, error=ended.error)
