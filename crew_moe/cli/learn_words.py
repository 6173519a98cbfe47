"""The learning report in words and rows, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from crew_moe.cli.output import usd
from crew_moe.learning.proportion import Proportion
from crew_moe.learning.untold import Untold

if TYPE_CHECKING:
    from crew_moe.learning.drift import Window
    from crew_moe.learning.regret import EstimatedRegret, Gap, KnownRegret
    from crew_moe.learning.report import Report

HOURS_SHOWN: Final = 48.0  # a longer span is told in days
LIKELY: Final = 0.05
LEAST_P: Final = 0.001
FIGURES: Final = ("Figure", ">Value", "!95 %", "Of")
BINS: Final = (">Predicted from", ">to", ">Answers", ">Predicted", ">Observed")

Row = tuple[object, ...]


def title(found: Report) -> str:
    """What the report is about."""
    return f"{count(found.decisions, 'decision')} from {moment(found.start)} to {moment(found.end)} UTC"


def unread(found: Report) -> str:
    """What was left out, in a sentence; empty where nothing was."""
    return f"Left out: {count(found.unread, 'row')} of the log that say too little." if found.unread else ""


def figures(found: Report) -> Iterator[Row]:
    """One row a figure: what, how much, between what and what, of what."""
    yield from _regret(found.regret)
    yield from _known(found.known)
    waste = found.waste
    yield (
        "Escalated to a higher tier",
        *_rate(found.escalated),
        f"{count(found.escalated.total, 'decision')} with calls",
    )
    yield "Passed on to a second", *_rate(found.passed_on), f"{count(found.passed_on.total, 'decision')} with calls"
    yield "Calls that failed", *_rate(waste.calls), count(waste.calls.total, "call")
    yield "Spent on calls that failed", percent(waste.cost_share), None, usd(waste.usd)
    if waste.unsettled_usd:
        yield "Perhaps spent besides, at most", usd(waste.unsettled_usd), None, "failed calls that are not settled"
    bindings = ", ".join(f"{name} {times:,}" for name, times in found.bindings)
    yield "Infeasible", *_rate(found.infeasible), bindings or count(found.infeasible.total, "decision")
    if found.models:
        yield "Unlike what was learned from", *_rate(found.unfamiliar), f"{found.unfamiliar.total:,} with a prediction"


def _regret(found: EstimatedRegret | Untold) -> Iterator[Row]:
    if isinstance(found, Untold):
        yield "Regret against the best", "can't be told", None, found.message
        return
    told = f"{found.best.expert_id}, best of {len(found.standings):,} that the log speaks of"
    yield "Regret against the best", *_gap(found.best.gain), told


def regret(found: Report) -> str:
    """What the regret was estimated from, in a sentence; empty where there is none."""
    seen = found.regret
    if isinstance(seen, Untold):
        return ""
    names = ", ".join(name for name, _ in seen.unsaid)
    unsaid = f" Of {names} the log says too little." if names else ""
    return (
        f"Regret is in reward per decision, over {count(seen.rounds, 'decision')} with a mean of {seen.reward:.3f}; "
        "above 0, that expert alone, wherever it was eligible, would have done better. The intervals hold for all "
        f"experts at once.{unsaid}"
    )


def _known(found: KnownRegret | Untold | None) -> Iterator[Row]:
    if isinstance(found, Untold):
        yield "Known", "can't be told", None, found.message
    elif found is not None:
        yield "Known, against the best", *_gap(found.against_best), found.best_expert
        yield "Known, against the oracle", *_gap(found.against_oracle), count(found.decisions, "decision")


def expert_columns(found: Report) -> tuple[str, ...]:
    """The titles of `experts`."""
    ends = (f"?>First {_span(found.shares[0])}", f"?>Last {_span(found.shares[-1])}") if len(found.shares) > 1 else ()
    alone = () if isinstance(found.regret, Untold) else (">Alone", "!95 %")
    return "!Expert", ">Share", *ends, *alone


def experts(found: Report) -> Iterator[Row]:
    """One row for each who was chosen, the most frequent first: its share of the decisions, in all and in the first and
    the last span, and what it alone would have gained.
    """
    total = sum(window.total for window in found.shares)
    ends = (found.shares[0], found.shares[-1]) if len(found.shares) > 1 else ()
    told = found.regret
    gains = None if isinstance(told, Untold) else {one.expert_id: _gap(one.gain) for one in told.standings}
    for name, times in found.ranked:
        alone = () if gains is None else gains.get(name, (None, None))
        yield name, percent(times / total), *(percent(window.share(name)) for window in ends), *alone


def drift(found: Report) -> str:
    """How the shares moved, in a sentence."""
    seen = found.drift
    if isinstance(seen, Untold):
        return f"Drift can't be told: {seen.message}."
    chance = "seldom does" if seen.p_value < LIKELY else "may well do"
    return (
        f"Drift: {percent(seen.total_variation)} of the decisions went elsewhere in the last span than in the first; "
        f"chance alone {chance} as much ({_chance(seen.p_value)}; stability index {seen.stability_index:.2f})."
    )


def bins(found: Report) -> Iterator[Row]:
    """One row for the answers of each tenth of predicted quality; none where that can't be told."""
    if not isinstance(found.calibration, Untold):
        for one in found.calibration.bins:
            yield f"{one.low:.1f}", f"{one.high:.1f}", f"{one.count:,}", f"{one.predicted:.3f}", f"{one.observed:.3f}"


def calibration(found: Report) -> str:
    """How right predictions were, in a sentence."""
    seen = found.calibration
    if isinstance(seen, Untold):
        return f"Calibration can't be told: {seen.message}."
    too = "high" if seen.bias > 0 else "low"
    return (
        f"Calibration of {', '.join(found.models)} over {count(seen.count, 'answer')}: error (ECE) {seen.ece:.3f}, "
        f"Brier score {seen.brier:.3f}; on average predicted too {too} by {abs(seen.bias):.3f}."
    )


def _chance(p_value: float) -> str:
    return f"p = {p_value:.3f}" if p_value >= LEAST_P else f"p < {LEAST_P}"


def count(number: int, what: str) -> str:
    """So many of them."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def _gap(found: Gap) -> tuple[str, str | None]:
    """The difference in reward and its interval."""
    if found.low is None or found.high is None:
        return f"{found.mean:+.3f}", None
    return f"{found.mean:+.3f}", f"{found.low:+.3f} to {found.high:+.3f}"


def _rate(found: Proportion) -> tuple[str | None, str | None]:
    """The share and its interval."""
    interval = found.interval
    if interval is None:
        return None, None
    return percent(found.share), f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def _span(window: Window) -> str:
    """How long a window is."""
    hours = (window.end - window.start) / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= HOURS_SHOWN else f"{hours:.1f} h"


def moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
