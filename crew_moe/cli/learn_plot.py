"""The learning report drawn: four panels as a PNG, or as one HTML page that needs nothing from outside."""

from __future__ import annotations

import io
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crew_moe.cli import learn_words as words
from crew_moe.cli.learn_page import page
from crew_moe.cli.learn_panels import INK, calibration, rates, regret, shares
from crew_moe.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crew_moe.learning.report import Report

PLOTS: Final = (".png", ".html")
SIZE: Final = (13.0, 9.0)  # inches
DPI: Final = 120
STYLE: Final[dict[Any, Any]] = {
    "font.size": 11.0,
    "axes.titlesize": 13.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "svg.hashsalt": "crew-moe",  # the same report gives the same file
    "svg.fonttype": "path",  # it looks the same whatever fonts a reader has
}


def check(path: Path) -> None:
    """Whether this can be drawn, before anything long begins. Raises InvalidInput for a file of another kind or in no
    folder, MissingExtra without matplotlib.
    """
    if path.suffix not in PLOTS:
        raise InvalidInput(f"'{path.name}' is no drawing", where="--plot", value=path.suffix, allowed=PLOTS)
    if not path.parent.is_dir():
        raise InvalidInput(f"there is no folder {path.parent}", where="--plot")
    try:
        import_module("matplotlib")
    except ImportError as missing:
        raise MissingExtra("learn", "matplotlib") from missing


def draw(report: Report, path: Path) -> None:
    """Draw the report into a file, by its ending. Raises InvalidInput where it can't be written."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = _figure(report)
        content = _png(figure) if path.suffix == ".png" else page(report, _svg(figure)).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InvalidInput(f"can't be written ({error.strerror or error})", where=str(path)) from None


def _figure(report: Report) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15, wspace=0.04, hspace=0.06)
    figure = Figure(figsize=SIZE, layout=engine)
    panels = figure.subplots(2, 2).flat
    for panel, fill in zip(panels, (regret, shares, rates, calibration), strict=True):
        fill(panel, report)
    figure.suptitle(_title(report), fontsize=15, fontweight="bold", x=0.012, ha="left")
    return figure


def _title(report: Report) -> str:
    days = dict.fromkeys((_day(report.start), _day(report.end)))
    return f"Learning report: {words.count(report.decisions, 'decision')}, {' to '.join(days)}"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _png(figure: Figure) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=DPI, facecolor="white")
    return written.getvalue()


def _svg(figure: Figure) -> str:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return written.getvalue()
