"""`crew-moe registry`: looks after the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from crew_moe.cli.options import AsJson, Config, config_folder
from crew_moe.cli.output import say, show_table, write_json

_SHOWN: Final = frozenset({"input_usd_per_mtok", "output_usd_per_mtok"})

if TYPE_CHECKING:
    from crew_moe.cli.prices import Comparison
    from crew_moe.domain.price import Rates


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Look after the catalogue.", rich_markup_mode=None)
    group.callback()(_group)
    group.command("check-prices")(check_prices)
    app.add_typer(group, name="registry")


def _group() -> None:
    """Look after the catalogue."""


def check_prices(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a price differs.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Compare the catalogue's prices with those of the installed genai-prices library; nothing is fetched."""
    from crew_moe.catalog import load_registry
    from crew_moe.cli.prices import Standing, compare

    rows = compare(load_registry(config_folder(config)))
    drifted = [row for row in rows if row.standing is Standing.DRIFT]
    if as_json:
        write_json([row.as_dict() for row in rows])
    else:
        titles = ("!Expert", "Finding", ">Catalogue in", ">out", ">Known in", ">out", ">Ratio")
        show_table(titles, (_cells(row) for row in rows))
        say(f"US$ per million tokens. {_summary(len(drifted))} Correct a price in a project's own experts.yaml.")
    if strict and drifted:
        raise typer.Exit(1)


def _cells(row: Comparison) -> tuple[object, ...]:
    finding = f"{row.standing}, retired" if row.retired else str(row.standing)
    hidden = [name for name in row.differing if name not in _SHOWN]
    finding += f" ({', '.join(hidden)})" if hidden else ""
    ratio = None if row.ratio is None else f"{row.ratio:.2f}"
    return row.expert_id, finding, *_price(row.catalogue), *_price(row.known), ratio


def _price(rates: Rates | None) -> tuple[str | None, str | None]:
    if rates is None:
        return None, None
    return f"{rates.input_usd_per_mtok:.3f}", f"{rates.output_usd_per_mtok:.3f}"


def _summary(drifted: int) -> str:
    return "No price differs." if drifted == 0 else f"{drifted} price{'s differ' if drifted > 1 else ' differs'}."
