"""`crew-moe local train-demo`: tiny models of this machine's own training, where no model hub can be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from math import isnan
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, one_of
from crew_moe.cli.output import err, say, share, show_table, write_json
from crew_moe.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from crew_moe.local_gate.demo.manifest import DemoManifest, Kind
    from crew_moe.local_gate.demo.training import News

NEEDED: Final = ("torch", "tokenizers", "transformers")  # the last one looks for the others when it is imported


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train-demo")(train_demo)


def train_demo(
    models: Annotated[
        Path | None,
        typer.Option("--models", metavar="DIR", help="Where hosted models lie; default: CREW_MOE_MODELS."),
    ] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="KIND", help="byt5 or longformer alone.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", metavar="M", min=0.01, max=600, help="At most so long for each model."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Another seed, another model.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace models that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a tiny ByT5 and a tiny LED, measure them on words that they have not seen, and leave them where the local
    gate looks for them. They are demonstrations: they show the way of a hosted expert and know a handful of tricks.
    """
    from crew_moe.local_gate.demo.folder import require_free
    from crew_moe.local_gate.demo.manifest import KINDS, demo_folder
    from crew_moe.settings import read_settings

    one_of(only, KINDS, "--only")
    if minutes is not None and isnan(minutes):  # no bound of an option stops it
        raise InvalidInput("nan is no time", where="--minutes")
    where = models or read_settings().models
    folders = {kind: demo_folder(where, kind) for kind in KINDS if only in (None, kind)}
    for folder in folders.values():
        require_free(folder, force=force)
    train = _training()
    made = {}
    for kind, folder in folders.items():
        with _progress(kind) as told:
            made[kind] = train(kind, folder, seed=seed, minutes=minutes, force=force, told=told)
    if as_json:
        write_json({kind: {"folder": str(folders[kind]), **one.model_dump(mode="json")} for kind, one in made.items()})
    else:
        _show(made, folders, where)


def _training() -> Callable[..., DemoManifest]:
    """What trains; raises MissingExtra where its libraries are not installed."""
    try:
        for module in NEEDED:
            import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra("local", (error.name or module).partition(".")[0]) from None
    from crew_moe.local_gate.demo.train import train

    return train


def _show(made: dict[Kind, DemoManifest], folders: dict[Kind, Path], where: Path) -> None:
    for kind, manifest in made.items():
        done = manifest.trained
        say(
            f"{kind}, a {manifest.label}: {done.steps:,} steps in {done.seconds:.0f} s, in {folders[kind]}",
            style="bold",
        )
        measures = list(dict.fromkeys(name for figures in manifest.accuracy.values() for name in figures))
        rows = ([task, *(share(figures.get(name)) for name in measures)] for task, figures in manifest.accuracy.items())
        show_table(("!On held-out words", *(f">{name}" for name in measures)), rows)
        say()
    but = ", but for rouge" if "longformer" in made else ""
    say(f"Shares of answers that are exact to the letter{but}. The packaged local.yaml names these folders.")
    say(f"Next: {_next(where)}crew-moe local serve, or crew-moe local bench.")


def _next(where: Path) -> str:
    """What has to be said before the next command, so that it looks for models there."""
    from crew_moe.settings import read_settings

    if where.resolve() == read_settings().models.resolve():
        return ""
    return f"export CREW_MOE_MODELS={quote(str(where.resolve()))}; "


@contextmanager
def _progress(kind: str) -> Iterator[Callable[[News], None]]:
    """A bar on a terminal's stderr; gives what hears of every step."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = err()
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{kind}: gets ready", total=1.0)

        def told(news: News) -> None:
            doing = f"step {news.steps}, loss {news.loss:.3f}" if news.done < 1 else "is measured"
            bar.update(task, completed=news.done, description=f"{kind}: {doing}")

        yield told
