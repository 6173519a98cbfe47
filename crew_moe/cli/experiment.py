"""`crew-moe experiment`: try a candidate for policy.yaml on a share of all sessions, and watch it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, Config, State, config_folder, durable, one_of, open_router
from crew_moe.cli.output import say, write_json
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.learning.experiment import Experiment, Wanted

Name = Annotated[str, typer.Argument(metavar="NAME", help="The experiment.")]
SIDES: Final = ("candidate", "control")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Try a candidate policy on a share of all sessions.", rich_markup_mode=None)
    group.command("start")(start)
    group.command("status")(status)
    group.command("stop")(stop)
    app.add_typer(group, name="experiment")


def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    candidate: Annotated[Path, typer.Option("--candidate", metavar="FILE", help="A candidate for policy.yaml.")],
    share: Annotated[float, typer.Option("--share", help="How much of all sessions the candidate gets.")] = 0.5,
    mode: Annotated[
        str, typer.Option("--mode", help="ab, or shadow: the candidate only says what it would do.")
    ] = "ab",
    metric: Annotated[
        str, typer.Option("--metric", help="What decides: reward, success, quality, cost or latency.")
    ] = "reward",
    mde: Annotated[float, typer.Option("--mde", help="The smallest effect worth finding.")] = 0.02,
    alpha: Annotated[float, typer.Option("--alpha", help="How often chance may be taken for an effect.")] = 0.05,
    spread: Annotated[
        float, typer.Option("--sd", help="Standard deviation of one result; 0.5 is the most between 0 and 1.")
    ] = 0.5,
    guardrail: Annotated[
        list[str] | None,
        typer.Option(
            "--guardrail", metavar="METRIC:MARGIN", help="By how much the candidate may be worse; repeatable."
        ),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Tell results apart by this: task_type, risk ...")] = None,
    min_samples: Annotated[
        int, typer.Option("--min-samples", metavar="N", help="Results in each arm before any verdict.")
    ] = 50,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Try a candidate policy from now on, on all routers over the state. Sessions keep their arm. Harm stops it."""
    from crew_moe.documents import read_text
    from crew_moe.learning.experiment import Wanted

    wanted = Wanted(
        name=name,
        candidate=read_text(candidate),
        share=share,
        mode=mode,
        metric=metric,
        mde=mde,
        alpha=alpha,
        spread=spread,
        guardrails=dict(map(_margin, guardrail or ())),
        by=by,
        min_samples=min_samples,
    )
    wanted.check()
    url = durable(state, "an experiment")
    with open_router(config_folder(config), url) as router:
        made = router.experiments.start(wanted)
    write_json(_plan_dict(made, wanted)) if as_json else _show_plan(made, wanted)


def status(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them; default: list all.")] = None,
    candidate: Annotated[
        bool, typer.Option("--candidate", help="Print NAME's candidate, a policy.yaml, alone.")
    ] = False,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show how experiments stand. Looking often does no harm: the intervals hold at every moment."""
    from crew_moe.cli.experiment_view import show_all, show_one, trial_dict

    if candidate and name is None:
        raise InvalidInput("of which experiment", where="--candidate", allowed=("NAME --candidate",))
    url = durable(state, "an experiment")
    with open_router(config_folder(config), url) as router:
        trials = router.experiments.trials
        if name is None:
            told = [trials.told(trial.experiment.name) for trial in trials.all()]
            write_json([trial_dict(one) for one in told]) if as_json else show_all(told)
            return
        one = trials.told(name)
    if candidate and not as_json:
        sys.stdout.write(one.trial.experiment.candidate.rstrip("\n") + "\n")  # as it is: it may become a file
    elif as_json:
        write_json(trial_dict(one))
    else:
        show_one(one)


def stop(
    name: Name,
    winner: Annotated[str | None, typer.Option("--winner", help="candidate or control: kept with it.")] = None,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """End an experiment: every session is back to the policy in force. What was counted stays."""
    from crew_moe.cli.experiment_view import trial_dict

    one_of(winner, SIDES, "--winner")
    url = durable(state, "an experiment")
    with open_router(config_folder(config), url) as router:
        trials = router.experiments.trials
        trials.stop(name, winner=winner)
        told = trials.told(name)
    if as_json:
        write_json(trial_dict(told))
        return
    say(f"{name} has ended; every session is back to the policy in force.")
    if winner == "candidate":
        say(f"To adopt the candidate, put it into your policy.yaml: crew-moe experiment status {name} --candidate")


def _margin(told: str) -> tuple[str, float]:
    """`success:0.01` as a metric and its margin."""
    name, _, margin = told.partition(":")
    try:
        return name.strip(), float(margin)
    except ValueError:
        raise InvalidInput(f"'{told}' is no guardrail", where="--guardrail", allowed=("METRIC:MARGIN",)) from None


def _plan_dict(made: Experiment, wanted: Wanted) -> dict[str, Any]:
    return {
        "name": made.name,
        "mode": made.mode.value,
        "share": made.share,
        "metric": made.metric,
        "mde": made.mde,
        "alpha": made.alpha,
        "guardrails": dict(made.margins),
        "by": made.by,
        "min_samples": made.min_samples,
        "candidate": made.candidate_version,
        "control": made.control_version,
        "results_needed": wanted.needed._asdict(),
        "results_needed_at_one_look": wanted.needed_at_one_look._asdict(),
    }


def _show_plan(made: Experiment, wanted: Wanted) -> None:
    say(f"{made.name}: {made.candidate_version} is tried against {made.control_version}.", style="bold")
    if made.mode == "shadow":
        say("In the shadow: everybody is served by the policy in force, and what the candidate would do is logged.")
        return
    needed, once = wanted.needed, wanted.needed_at_one_look
    say(f"The candidate gets {made.share:.0%} of all sessions; each session keeps its arm.")
    say(
        f"A change of {made.mde:g} in {made.metric} is found with 80 % probability after about {needed.control:,} "
        f"results of the control and {needed.candidate:,} of the candidate ({once.total:,} in all if you looked only "
        "once). A larger one is found sooner."
    )
    say("It stops by itself where the candidate is worse than it may be: " + _margins(made) + ".")


def _margins(made: Experiment) -> str:
    return ", ".join(f"{name} by {margin:g}" for name, margin in made.margins.items())
