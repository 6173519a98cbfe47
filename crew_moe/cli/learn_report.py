"""`crew-moe learn report`: how routing did, from the decision log: regret, waste, shares and calibration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from crew_moe.cli import learn_words as words
from crew_moe.cli.options import AsJson, Config, Log, config_folder, logged_rows
from crew_moe.cli.output import err, say, show_table, write_json
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.learning.episodes import Row
    from crew_moe.learning.report import Report

SPANS: Final = 8
SEED: Final = 0  # the same log gives the same report
MOST_EXPERTS: Final = 12
UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def report(
    log: Log,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="How far back: 90m, 24h, 7d, 2w; default: all.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", metavar="FILE", help="Grades of all answers: decision_id, q:<expert>, c:<expert>."),
    ] = None,
    config: Config = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the figures too: report.png or report.html.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell from a decision log how routing did: regret, escalation, wasted work, shares and their drift, calibration.

    Nothing is decided or called. What the log can't tell is said, with the reason, and is no zero.
    """
    from crew_moe.cli.learn_plot import check, draw

    if plot is not None:
        check(plot)
    found = _report(log, _earliest(since), config, truth)
    if found is None:
        _nothing(log, since, as_json)
        return
    if plot is not None:
        draw(found, plot)
    if as_json:
        write_json(found.as_dict())
        return
    _show(found)
    if plot is not None:
        say(f"Drawn: {plot}")


def _report(log: str, earliest: datetime | None, config: Path | None, truth: Path | None) -> Report | None:
    import numpy as np

    from crew_moe.catalog import load_policy, load_registry
    from crew_moe.learning.episodes import Episodes, joined
    from crew_moe.learning.hindsight import Hindsight
    from crew_moe.learning.regret import known_regret
    from crew_moe.learning.report import report as figures
    from crew_moe.learning.reward_factors import load_factors
    from crew_moe.learning.rewards import Facts, Rewards
    from crew_moe.learning.truth import Grade, read_truth
    from crew_moe.strategies import STRATEGIES

    folder = config_folder(config)
    registry = load_registry(folder)
    policy = load_policy(folder, registry, STRATEGIES)
    rewards = Rewards(policy.learning.reward, load_factors(policy.learning.reward.factors, folder))
    known = None if truth is None else read_truth(truth)
    hindsight, rng = Hindsight(policy), np.random.default_rng(SEED)
    with _counted(logged_rows(log)) as rows:
        given = joined(hindsight.seen(rows))
    if earliest is not None:
        given = Episodes(found=tuple(one for one in given.found if one.at >= earliest), unread=given.unread)

    def worth(grade: Grade) -> float:
        return rewards.of(Facts(quality=grade.quality, cost_usd=grade.cost_usd)) or 0.0

    return figures(
        given,
        tiers={expert.expert_id: expert.tier.value for expert in registry},
        spans=SPANS,
        rng=rng,
        regret=hindsight.regret(rewards, frozenset(one.decision_id for one in given.found), rng),
        known=None if known is None else known_regret(given.found, known, worth),
    )


def _earliest(since: str | None) -> datetime | None:
    """The moment so long ago. Raises InvalidInput for what is no time."""
    if since is None:
        return None
    found = re.fullmatch(r"(\d{1,5})([mhdw])", since)
    if found is None:
        raise InvalidInput(f"'{since[:20]}' is no time", where="--since", allowed=("90m", "24h", "7d", "2w"))
    return datetime.now(UTC) - timedelta(**{UNITS[found[2]]: int(found[1])})


@contextmanager
def _counted(rows: Iterable[Row]) -> Iterator[Iterator[Row]]:
    """The rows, counted on a terminal's stderr as they are read."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = err()
    columns = (SpinnerColumn(), TextColumn("reading the log: {task.completed:,} rows", markup=False))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def seen() -> Iterator[Row]:
            for row in rows:
                bar.advance(task)
                yield row

        yield seen()


def _nothing(log: str, since: str | None, as_json: bool) -> None:
    from crew_moe.cli.options import shown_state

    if as_json:
        write_json({"decisions": 0})
    else:
        within = f" of the last {since}" if since else ""
        say(f"The log in {shown_state(log)} holds no decision{within}: there is nothing to report.")


def _show(found: Report) -> None:
    say(words.title(found), style="bold")
    show_table(words.FIGURES, words.figures(found))
    if told := words.regret(found):
        say(told)
    if found.shares:
        say()
        rows = list(words.experts(found))
        show_table(words.expert_columns(found), rows[:MOST_EXPERTS])
        if len(rows) > MOST_EXPERTS:
            say(f"and {len(rows) - MOST_EXPERTS} more with --json", style="dim")
    say(words.drift(found))
    say()
    if rows := list(words.bins(found)):
        show_table(words.BINS, rows)
    say(words.calibration(found))
    if told := words.unread(found):
        say(told)
