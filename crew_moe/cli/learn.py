"""`crew-moe learn`: what routing learns, tried on data before it is trusted with requests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from crew_moe.cli.learn_forget import forget
from crew_moe.cli.learn_report import report
from crew_moe.cli.options import AsJson, one_of
from crew_moe.cli.output import say, show_table, write_json
from crew_moe.cli.steps import steps
from crew_moe.errors import InvalidInput

Data = Annotated[
    list[Path], typer.Option("--data", metavar="FILE", help="Graded questions: parquet, CSV or JSON lines; repeatable.")
]
More = Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="More files of --data.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Try and watch what routing learns.", rich_markup_mode=None)
    group.command("replay")(replay)
    group.command("report")(report)
    group.command("forget")(forget)
    app.add_typer(group, name="learn")


def replay(
    data: Data,
    policy: Annotated[str, typer.Option("--policy", metavar="NAME", help="linucb, lints, epsilon_greedy, squarecb.")],
    more: More = None,
    arms: Annotated[
        str | None, typer.Option("--arms", metavar="A,B", help="Experts to choose from; default: all.")
    ] = None,
    cost_weight: Annotated[
        float, typer.Option("--cost-weight", help="What the dearest expert's mean cost takes off a reward.")
    ] = 0.3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the order of rows and of every draw.")] = 0,
    evaluation: Annotated[
        Path | None, typer.Option("--eval", metavar="FILE", help="Try the greedy choice on these rows afterwards.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a bandit choose and learn over graded questions, in one shuffled pass, and tell its regret."""
    from crew_moe.learning.graded import read_graded
    from crew_moe.learning.offers import bandit_policy
    from crew_moe.learning.replay import replay as replayed
    from crew_moe.strategies.bandits import BANDITS

    one_of(policy, tuple(BANDITS), "--policy")
    with steps("reading", None) as step:
        table = read_graded([*data, *(more or ())], _names(arms), step)
        held = None if evaluation is None else read_graded([evaluation], table.experts, step)
    with steps(policy, len(table.contexts)) as step:
        told = replayed(
            table,
            BANDITS[policy],
            bandit_policy(),
            cost_weight=cost_weight,
            seed=seed,
            clock=time.perf_counter,
            evaluation=held,
            step=step,
        ).as_dict()
    _tell(told, policy, len(table.contexts), as_json)


def _names(arms: str | None) -> list[str] | None:
    """The experts of a list with commas."""
    if arms is None:
        return None
    names = [name.strip() for name in arms.split(",")]
    if not all(names):
        raise InvalidInput(f"'{arms}' has an empty name", where="--arms", allowed=("names with commas between",))
    return names


def _tell(told: dict[str, Any], policy: str, rounds: int, as_json: bool) -> None:
    if as_json:
        write_json(told)
        return
    say(f"{policy}, {rounds:,} rounds", style="bold")
    show_table(
        ("Measure", ">Value"),
        ((name.replace("_", " "), None if value is None else f"{value:.4f}") for name, value in told.items()),
    )
