"""The panels of the learning report's drawing: each takes its axes and the report."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from crew_moe.learning.regret import KnownRegret
from crew_moe.learning.untold import Untold

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from crew_moe.learning.report import Report

# Okabe and Ito (2008): told apart by people with any kind of colour vision; light ones last.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
STANDINGS: Final = 8
NAME: Final = 30  # characters a line
REST: Final = "#999999"
LIGHT: Final = COLOURS[4]
INK: Final = "#222222"
SHOWN: Final = len(COLOURS)


def shares(panel: Axes, report: Report) -> None:
    """Stacked bars: who got which share of the decisions in each span of time."""
    panel.set_title("Share per expert over time")
    windows = report.shares
    if not windows:
        _untold(panel, "nobody was chosen")
        return
    names = [name for name, _ in report.ranked]
    shown = names[: SHOWN if len(names) > SHOWN + 1 else SHOWN + 1]
    places = range(len(windows))
    floor = [0.0] * len(windows)
    for number, name in enumerate(shown):
        colour = COLOURS[number] if number < SHOWN else REST
        floor = _layer(panel, [100 * window.share(name) for window in windows], floor, colour, _named(name))
    if len(shown) < len(names):
        _layer(
            panel,
            [100.0 - below if window.total else 0.0 for window, below in zip(windows, floor, strict=True)],
            floor,
            REST,
            f"{len(names) - len(shown)} others",
        )
    panel.set_xticks(
        places, [f"{window.start.day} {window.start:%b}\n{window.start:%H:%M}" for window in windows], fontsize=9.5
    )
    panel.set_xlabel("Span of time, by its beginning (UTC)")
    panel.set_ylabel("Share of decisions (%)")
    panel.set_ylim(0, 100)
    handles, labels = panel.get_legend_handles_labels()
    panel.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9.5)


def _layer(panel: Axes, heights: Sequence[float], floor: Sequence[float], colour: str, label: str) -> list[float]:
    """One expert's part of every bar; where the next one's begins."""
    panel.bar(
        range(len(heights)),
        heights,
        bottom=list(floor),
        width=0.86,
        color=colour,
        label=label,
        edgecolor="white",
        linewidth=0.6,
    )
    return [below + height for below, height in zip(floor, heights, strict=True)]


def calibration(panel: Axes, report: Report) -> None:
    """Predicted against observed quality; the size of a point tells how many answers it stands for."""
    panel.set_title("Calibration of the quality model")
    seen = report.calibration
    if isinstance(seen, Untold):
        _untold(panel, seen.message)
        return
    panel.plot(
        [0, 1],
        [0, 1],
        color=REST,
        linestyle="--",
        linewidth=1.2,
    )
    most = max(one.count for one in seen.bins)
    xs, ys = [one.predicted for one in seen.bins], [one.observed for one in seen.bins]
    panel.errorbar(
        xs,
        ys,
        yerr=[1.96 * (one.error or 0.0) for one in seen.bins],
        fmt="none",
        ecolor=COLOURS[0],
        elinewidth=1.2,
        capsize=3,
    )
    panel.scatter(
        xs,
        ys,
        s=[40 + 260 * one.count / most for one in seen.bins],
        color=COLOURS[0],
        edgecolor="white",
        zorder=3,
        clip_on=False,
    )
    for one in seen.bins:
        panel.annotate(
            f"{one.count:,}",
            (one.predicted, one.observed + 1.96 * (one.error or 0.0)),
            textcoords="offset points",
            xytext=(0, 10),
            ha="center",
            fontsize=9,
            color=INK,
        )
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.set_aspect("equal")
    panel.set_xlabel("Predicted quality (0 to 1)")
    panel.set_ylabel("Observed quality (0 to 1)")
    note = (
        f"{seen.count:,} answers; numbers are\nthose with such a prediction\ndashed: predicted = observed\n"
        f"ECE {seen.ece:.3f}, Brier {seen.brier:.3f}"
    )
    panel.text(0.98, 0.03, note, transform=panel.transAxes, ha="right", va="bottom", fontsize=9.5)


def rates(panel: Axes, report: Report) -> None:
    """Shares with their intervals."""
    panel.set_title("What went wrong, and what it cost")
    told = [
        ("Infeasible", report.infeasible),
        ("Escalated to\na higher tier", report.escalated),
        ("Passed on to a\nsecond expert", report.passed_on),
        ("Calls that\nfailed", report.waste.calls),
    ]
    rows: list[tuple[str, float | None, tuple[float, float] | None]] = [
        (name, found.share, found.interval) for name, found in told
    ]
    rows.append(("Spent on calls\nthat failed", report.waste.cost_share, None))
    top = max([high for _, _, interval in rows if interval for high in interval] + [row[1] or 0.0 for row in rows])
    for place, (_, value, interval) in enumerate(rows):
        _bar(panel, place, value, interval, 100 * top)
    panel.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_xlim(0, max(1.0, 100 * top * 1.25))
    panel.set_xlabel("Share (%), with 95 % intervals")


def _bar(panel: Axes, place: int, value: float | None, interval: tuple[float, float] | None, top: float) -> None:
    if value is None:
        panel.text(0.01 * max(top, 1.0), place, "nothing to count", va="center", color=INK, fontsize=10)
        return
    panel.barh(place, 100 * value, height=0.55, color=LIGHT)
    right = 100 * value
    if interval is not None:
        low, high = (100 * edge for edge in interval)
        panel.plot([low, high], [place, place], color=INK, linewidth=1.4, solid_capstyle="butt")
        right = max(right, high)
    panel.text(right + 0.02 * max(top, 1.0), place, f"{100 * value:.1f} %", va="center", fontsize=10)


def regret(panel: Axes, report: Report) -> None:
    """What each expert alone would have gained, with intervals, against what was routed."""
    panel.set_title("Had one expert served everything")
    found = report.regret
    if isinstance(found, Untold):
        _untold(panel, found.message)
        return
    shown = found.standings[:STANDINGS]
    for place, standing in enumerate(shown):
        gain = standing.gain
        edges = [gain.mean if edge is None else edge for edge in (gain.low, gain.high)]
        panel.plot(edges, [place, place], color=COLOURS[0], linewidth=1.6, solid_capstyle="butt")
        panel.plot(gain.mean, place, "o", color=COLOURS[0], markersize=7)
    _line(panel, 0.0, INK, "as routed")
    if isinstance(report.known, KnownRegret):
        _line(panel, report.known.against_oracle.mean, COLOURS[5], "oracle")
    panel.set_yticks(range(len(shown)), [_named(standing.expert_id) for standing in shown], fontsize=9)
    panel.set_ylim(len(shown) - 0.4, -0.9)
    panel.set_xlabel(f"Reward per decision, more or less than routed\n(routed: {found.reward:.2f}); 95 % intervals")


def _line(panel: Axes, gain: float, colour: str, label: str) -> None:
    """A mark across all experts."""
    panel.axvline(gain, color=colour, linestyle="--", linewidth=1.2)
    panel.annotate(
        label,
        (gain, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -2),
        textcoords="offset points",
        va="top",
        fontsize=9.5,
        color=colour,
    )


def _untold(panel: Axes, message: str) -> None:
    """A panel without a figure, and why."""
    panel.set_axis_off()
    panel.text(0.0, 0.95, f"Can't be told:\n{_wrapped(message)}", transform=panel.transAxes, va="top", fontsize=11)


def _named(expert_id: str) -> str:
    """An expert's id, a long one in lines."""
    return "\n".join(textwrap.wrap(expert_id, NAME))


def _wrapped(message: str) -> str:
    return "\n".join(textwrap.wrap(message, 60))
