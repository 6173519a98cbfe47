"""How experiments stand, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from crew_moe.cli.output import say, show_table
from crew_moe.learning.experiment import METRICS, Arm, Interval, Mode, Moments, Verdict

if TYPE_CHECKING:
    from crew_moe.learning.experiment.standing import Comparison
    from crew_moe.learning.trials import Told

DIGITS: Final = {"cost": 6, "latency": 0, "predicted_cost": 6}
SENTENCES: Final = {
    Verdict.OPEN: "Nothing can be said yet of which is better.",
    Verdict.CANDIDATE_WINS: "The candidate is better in {because}, and no worse than it may be elsewhere.",
    Verdict.CONTROL_WINS: "The candidate is worse in {because}: it was stopped.",
    Verdict.HARMED: "The candidate does harm in {because}: it was stopped.",
}


WORDS: Final = {
    "agreement": "chooses the same expert",
    "predicted_cost": "predicted cost, US$",
    "predicted_quality": "predicted quality",
}


def show_all(told: Sequence[Told]) -> None:
    """One line for each."""
    if not told:
        say("There are no experiments.")
        return
    show_table(
        ("!Experiment", "!Mode", "!State", "Verdict", "!Started", ">Results"),
        (
            (
                one.trial.experiment.name,
                one.trial.experiment.mode,
                _state(one),
                _verdict(one).replace("_", " "),
                f"{one.trial.experiment.started_at:%Y-%m-%d %H:%M}",
                f"{_results(one):,.0f}",
            )
            for one in told
        ),
    )


def show_one(told: Told) -> None:
    """Arms, intervals, guardrails, and what follows."""
    plan = told.trial.experiment
    say(f"{plan.name}: {plan.candidate_version} against {plan.control_version}, {_state(told)}", style="bold")
    _show_shadow(told) if plan.mode is Mode.SHADOW else _show_arms(told)


def _show_arms(told: Told) -> None:
    plan, stands = told.trial.experiment, told.standing
    guards = {guard.metric: f"{guard.state} ({guard.margin:g})" for guard in stands.guardrails}
    show_table(
        ("!Metric", ">Control", ">Candidate", ">Change", "!Between", ">p", "?!Guardrail"),
        (_row(one, guards) for one in (stands.main, *stands.others)),
    )
    say("Guardrails: " + ", ".join(f"{metric} {state}" for metric, state in guards.items()) + ".")
    say(
        f"Intervals hold at every moment with {1 - plan.alpha:.0%}; every p but the first is adjusted for their number."
    )
    say(SENTENCES[told.trial.verdict].format(because=told.trial.because), style="bold")
    if told.trial.running and told.trial.verdict is Verdict.CANDIDATE_WINS:
        say(f"To adopt it, put the candidate into your policy.yaml: crew-moe experiment status {plan.name} --candidate")
        say(f"Then end the experiment: crew-moe experiment stop {plan.name} --winner candidate")


def _row(one: Comparison, guards: Mapping[str, str]) -> tuple[object, ...]:
    low = high = change = None
    if one.change is not None:
        change, low, high = (_change(one, value) for value in one.change)
    return (
        one.metric if one.cohort is None else f"{one.metric}, {one.cohort}",
        _mean(one.metric, one.control),
        _mean(one.metric, one.candidate),
        change,
        None if change is None else f"{low} .. {high}",
        f"{one.p if one.adjusted_p is None else one.adjusted_p:.3f}",
        guards.get(one.metric) if one.cohort is None else None,
    )


def _show_shadow(told: Told) -> None:
    found = told.standing.shadow
    if not found:
        say("No decision was made yet.")
        return
    show_table(
        ("Candidate against what was chosen", ">Decisions", ">Mean", "!Between"),
        (
            (WORDS[one.metric], f"{one.n:,}", _figure(one.metric, one.mean.estimate), _between(one.metric, one.mean))
            for one in found
        ),
    )


def trial_dict(told: Told) -> dict[str, Any]:
    """JSON-ready."""
    trial, stands, plan = told.trial, told.standing, told.trial.experiment
    return {
        "name": plan.name,
        "mode": plan.mode.value,
        "share": plan.share,
        "metric": plan.metric,
        "alpha": plan.alpha,
        "state": _state(told),
        "verdict": _verdict(told),
        "because": trial.because or stands.because,
        "winner": trial.winner,
        "started_at": plan.started_at.isoformat(),
        "decided_at": None if trial.decided_at is None else trial.decided_at.isoformat(),
        "ended_at": None if trial.ended_at is None else trial.ended_at.isoformat(),
        "control": plan.control_version,
        "candidate": plan.candidate_version,
        "decisions": {arm.value: int(told.tally.of(arm, "infeasible").n) for arm in Arm},
        "main": _comparison_dict(stands.main),
        "guardrails": [
            {"metric": one.metric, "margin": one.margin, "state": one.state.value} for one in stands.guardrails
        ],
        "others": [_comparison_dict(one) for one in stands.others],
        "shadow": [{"metric": one.metric, "decisions": one.n, **one.mean._asdict()} for one in stands.shadow],
    }


def _comparison_dict(one: Comparison) -> dict[str, Any]:
    return {
        "metric": one.metric,
        "cohort": one.cohort,
        "control": _moments_dict(one.control),
        "candidate": _moments_dict(one.candidate),
        "relative": METRICS[one.metric].relative,
        "change": None if one.change is None else one.change._asdict(),
        "p": one.p,
        "adjusted_p": one.adjusted_p,
    }


def _moments_dict(moments: Moments) -> dict[str, Any]:
    return {"n": int(moments.n), "mean": moments.mean if moments.n else None}


def _state(told: Told) -> str:
    return "running" if told.trial.running else "ended"


def _verdict(told: Told) -> str:
    """The one that was taken; it stands, whatever the counts say later."""
    return told.trial.verdict.value


def _results(told: Told) -> float:
    main = told.standing.main
    return main.control.n + main.candidate.n


def _mean(metric: str, moments: Moments) -> str | None:
    return f"{_figure(metric, moments.mean)} ({moments.n:,.0f})" if moments.n else None


def _figure(metric: str, value: float) -> str:
    return f"{value:,.{DIGITS.get(metric, 3)}f}"


def _change(one: Comparison, value: float) -> str:
    return f"{100 * value:+.1f} %" if METRICS[one.metric].relative else f"{value:+.3f}"


def _between(metric: str, found: Interval) -> str:
    return f"{_figure(metric, found.low)} .. {_figure(metric, found.high)}"
