"""A bar for long work, on stderr and only on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from crew_moe.cli.output import err


class Step(Protocol):
    """Is called when a part is done, or begins; `name` says what is under way from now on."""

    def __call__(self, name: str | None = None, /) -> None: ...


@contextmanager
def steps(what: str, total: int | None) -> Iterator[Step]:
    """A bar of `total` parts (None: nobody knows how many)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = err()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def step(name: str | None = None, /) -> None:
            bar.update(task, advance=1, description=name)

        yield step
