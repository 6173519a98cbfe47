"""`crew-moe policy evaluate`: what a candidate for policy.yaml would have been worth, from the log alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from crew_moe.cli.options import AsJson, Config, Log, config_folder, logged_rows, one_of
from crew_moe.cli.output import say, show_table, usd, write_json
from crew_moe.cli.policy_diff import WHY
from crew_moe.cli.steps import steps
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.learning.logged import Logged
    from crew_moe.learning.metric_table import Bounds, Told
    from crew_moe.learning.policy_value import PolicyValue

SEED: Final = 0  # the same log gives the same figures
COHORTS: Final = ("task_type", "tenant", "language")
SHOWN_DIGITS: Final = 8  # of a tenant's commitment
SHOWN: Final[Mapping[str, Callable[[float], str]]] = {
    "reward": lambda value: f"{round(value, 4) + 0.0:.4f}",  # no -0
    "cost_usd": lambda value: f"{'-' if value < 0 else ''}{usd(abs(value))}",
    "latency_ms": lambda value: f"{value:,.0f} ms",
    "violations": lambda value: f"{round(value, 4) + 0.0:.2%}",
}
EXCUSES: Final = {
    **WHY,
    "nobody": "nobody served them then",
    "untold": "their rows do not tell with which chances they were made",
    "unobserved": "nobody told what came of them",
}


def evaluate(
    candidate: Annotated[Path, typer.Option("--candidate", metavar="FILE", help="A candidate for policy.yaml.")],
    log: Log,
    config: Config = None,
    estimator: Annotated[
        str | None, typer.Option("--estimator", metavar="NAME", help="ips, snips, dm, dr, sndr, switch or blend.")
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", min=0.0, max=1.0, help="By how much violations may rise, as a share.")
    ] = 0.01,
    min_gain: Annotated[
        float, typer.Option("--min-gain", min=-1.0, max=1.0, help="What the gain in reward must be above.")
    ] = 0.0,
    by: Annotated[
        str | None, typer.Option("--by", metavar="A,B", help=f"Look at cohorts: {', '.join(COHORTS)}.")
    ] = None,
    min_evidence: Annotated[
        float, typer.Option("--min-evidence", min=1.0, help="The least effective sample size.")
    ] = 40.0,
    as_json: AsJson = False,
) -> None:
    """Estimate reward, cost, latency and violations of a candidate policy from logged decisions, against what was done.

    No model is called. Exit 1 when violations may rise by more than --margin, when the gain may be no more than
    --min-gain, or when the log does not speak of the candidate's choices.
    """
    from numpy.random import default_rng

    from crew_moe.learning.metric_table import METRICS
    from crew_moe.learning.ope import ESTIMATORS, Demanded
    from crew_moe.learning.policy_value import Gate, policy_value

    one_of(estimator, tuple(ESTIMATORS), "--estimator")
    cohorts = _cohorts(by)
    with steps("reading", None) as step:
        logged = _logged(candidate, log, config, step)
    gate = Gate(estimator=estimator, margin=margin, min_gain=min_gain, demanded=Demanded(effective=min_evidence))
    with steps("estimating", len(METRICS)) as step:
        found = policy_value(logged, gate, default_rng(SEED), by=cohorts, step=step)
    write_json(found.as_dict()) if as_json else _show(found)
    if not found.ok:
        raise typer.Exit(1)


def _logged(candidate: Path, log: str, config: Path | None, step: Callable[[str], None]) -> Logged:
    """The log's rounds, with the candidate's chances in each."""
    from functools import partial

    from crew_moe.catalog import load_policy, load_registry
    from crew_moe.catalog.policy import read_policy
    from crew_moe.documents import read_text
    from crew_moe.domain.digest import MAX_KEY_BYTES, digest
    from crew_moe.gating.past import Names
    from crew_moe.learning.logged import Reading
    from crew_moe.learning.reward_factors import load_factors
    from crew_moe.learning.rewards import Rewards
    from crew_moe.routing.record import chances_in
    from crew_moe.settings import read_settings
    from crew_moe.simulation import Court
    from crew_moe.strategies import STRATEGIES

    folder, key = config_folder(config), read_settings().log_key
    registry = load_registry(folder)
    current = load_policy(folder, registry, STRATEGIES)
    policy = read_policy(read_text(candidate), registry, STRATEGIES, cedar=current.cedar)
    names = Names(key=digest(key, size=MAX_KEY_BYTES) if key else b"", lasting=bool(key))
    court = Court(policy, current, registry, names)
    reading = Reading(then=partial(chances_in, policy=current), now=court.chances)
    for row in logged_rows(log):
        reading.take(row)
        step("reading")
    reward = current.learning.reward
    return reading.joined(Rewards(reward, load_factors(reward.factors, folder)))


def _cohorts(by: str | None) -> Sequence[str]:
    names = [] if by is None else [name.strip() for name in by.split(",")]
    for name in names:
        if name not in COHORTS:
            raise InvalidInput(f"'{name}' is no cohort", where="--by", value=name, allowed=COHORTS)
    return list(dict.fromkeys(names))


def _show(found: PolicyValue) -> None:
    say("Figures per decision, with 95 % intervals.", style="bold")
    show_table(
        ("!Measure", ">Rounds", ">Evidence", "?!By", "Logged", "Candidate", "Change"),
        (_line(name, told) for name, told in found.metrics.items()),
    )
    if found.breaches:
        say(f"{found.breaches:.2%} of the candidate's choices are of experts that rules of safety had ruled out.")
    if found.cohorts:
        say()
        show_table(
            ("!Cohort", "Name", ">Rounds", "Change of reward", "Change of violations", "!Believed"),
            (
                (
                    cohort.by,
                    cohort.name[:SHOWN_DIGITS] if cohort.by == "tenant" else cohort.name,
                    cohort.rounds,
                    _change(cohort.reward),
                    _change(cohort.violations),
                    "harmed" if cohort.harmed else "reward differs" if cohort.reward_differs else None,
                )
                for cohort in found.cohorts
            ),
        )
    for reason, count in found.left_out.items():
        say(f"{count} of {found.seen} decisions were left out: {EXCUSES[reason]}.", style="dim")
    for reason in found.reasons:
        say(f"Does not pass: {reason}.")
    if found.ok:
        say("Passes: no more violations than the margin allows, and a gain.")


def _line(name: str, told: Told) -> tuple[object, ...]:
    from crew_moe.learning.ope import NoOverlap

    if isinstance(told, NoOverlap):
        return name, told.overlap.rounds, f"{told.effective_sample_size:,.0f}", None, told.message, None, None
    shown = SHOWN[name]
    did, would, change = (_bounds(one, shown) for one in (told.logged, told.candidate, told.change))
    return name, told.rounds, f"{told.effective_sample_size:,.0f}", told.estimator, did, would, change


def _change(told: Told) -> str:
    from crew_moe.learning.ope import NoOverlap

    if isinstance(told, NoOverlap):
        return told.reason.value.replace("_", " ")
    return _bounds(told.change, SHOWN[told.metric])


def _bounds(bounds: Bounds, shown: Callable[[float], str]) -> str:
    return f"{shown(bounds.value)} ({shown(bounds.low)} to {shown(bounds.high)})"
