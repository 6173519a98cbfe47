"""The figures of a run as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figure import Figure, short


def show(figures: Sequence[Figure], console: Console) -> None:
    """The figures as a table, one section per group."""
    table = Table("what", "measured", "unit", "target", "", "note", title="crew-moe benchmarks", title_justify="left")
    previous = ""
    for figure in figures:
        if figure.group != previous:
            table.add_section()
            table.add_row(f"[bold]{figure.group}[/bold]")
            previous = figure.group
        verdict = {True: "[green]ok[/green]", False: "[red]MISS[/red]", None: ""}[figure.ok]
        table.add_row(figure.name, short(figure.value), figure.unit, figure.target, verdict, figure.note)
    console.print(table)
