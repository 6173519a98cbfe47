"""What people and machines read: tables and sentences on stdout, JSON on stdout, errors and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

# What a terminal would obey instead of showing: control characters but for tab and newline.
_CONTROLS: Final = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
MAX_WORD: Final = 20  # characters; a longer word in a wrapping column is broken
ABSENT: Final = "-"
USUAL_WIDTH: Final = 80


def out() -> Any:
    """A rich console on stdout; text is printed as it is, without markup."""
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    if console.width < 1:  # what some terminals tell that know no width; nothing at all would be shown
        console.width = USUAL_WIDTH
    return console


def err() -> Any:
    """As `out`, on what is stderr now, whatever it may be redirected to later."""
    from rich.console import Console

    return Console(file=sys.stderr, markup=False, emoji=False, highlight=False)


def write_json(value: Any) -> None:
    """The whole answer of a command as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def fail(message: str, code: int) -> int:
    """One line of error on stderr; gives the exit code back."""
    sys.stderr.write(f"error: {' '.join(harmless(message).split())}\n")
    return code


def harmless(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return text.translate(_CONTROLS)


def say(text: str = "", *, style: str = "") -> None:
    """A paragraph on stdout, wrapped at words."""
    out().print(harmless(text), style=style)


def show_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table on stdout. What stands before a column's title says how it behaves where the terminal is narrow.

    ">" is right-aligned and never broken, "!" is never broken, "?" goes before one of them and lets the whole column
    go, the last such column first. All others wrap.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = out()
    cells = [[harmless(ABSENT if cell is None else str(cell)) for cell in row] for row in rows]
    wished = [_Column.of(title, [row[i] for row in cells]) for i, title in enumerate(columns)]
    layout = _fitting(wished, console.width)
    airy = _needed(layout, gap=2) <= console.width
    table = Table(box=box.SIMPLE_HEAD, padding=(0, int(airy), 0, 0), pad_edge=False, show_edge=False)
    for column in layout:
        side: Any = "right" if column.right else "left"
        table.add_column(column.title, justify=side, no_wrap=column.whole, overflow="fold")
    for row in zip(*(column.cells for column in layout), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def show_pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Names and what they stand for, side by side."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(harmless(ABSENT if value is None else str(value))))
    out().print(grid)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One column of a table; `whole` cells are never broken, an `optional` column may go."""

    title: str
    right: bool
    whole: bool
    optional: bool
    cells: list[str]

    @classmethod
    def of(cls, marked: str, cells: list[str]) -> Self:
        mark = marked.removeprefix("?")
        title = mark.lstrip(">!")
        return cls(
            title=title, right=mark[:1] == ">", whole=mark[:1] in (">", "!"), optional=marked[:1] == "?", cells=cells
        )

    @property
    def width(self) -> int:
        """The least that the column needs to be read with pleasure."""
        texts = (self.title, *self.cells)
        if self.whole:
            return max(map(len, texts))
        return min(MAX_WORD, max(len(word) for text in texts for word in (text.split() or [""])))


def _needed(columns: list[_Column], *, gap: int) -> int:
    return sum(column.width + gap for column in columns) - gap


def _fitting(columns: list[_Column], width: int) -> list[_Column]:
    """The columns that fit into `width`: optional ones go from the right until the rest does."""
    kept = list(columns)
    while _needed(kept, gap=1) > width:
        spare = [column for column in kept if column.optional]
        if not spare:
            break
        kept.remove(spare[-1])
    return kept


def usd(amount: Decimal | float | str) -> str:
    """US$ with six decimals, so that amounts stand under each other."""
    return f"${Decimal(amount):,.6f}"


def milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


def share(value: float | None) -> str | None:
    """A rate in percent."""
    return None if value is None else f"{100 * value:.0f} %"


def yes_no(value: bool) -> str:
    return "yes" if value else "no"
