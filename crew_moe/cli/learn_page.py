"""The learning report as one HTML page: the drawing, and the same figures as tables. It asks nobody for anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from crew_moe.cli import learn_words as words
from crew_moe.cli.output import ABSENT, harmless

if TYPE_CHECKING:
    from crew_moe.learning.report import Report

MARKS: Final = ">!?"  # what output.show_table reads before a title
PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Learning report: {title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       margin: 2rem auto; max-width: 80rem; padding: 0 1rem }}
svg {{ width: 100%; height: auto }}
figure {{ margin: 1rem 0 }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
caption {{ text-align: left; font-weight: 600; padding-bottom: .25rem }}
th, td {{ padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #ccc; text-align: left; vertical-align: top }}
.number {{ text-align: right; font-variant-numeric: tabular-nums }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<figure>
{drawing}
</figure>
{tables}
</main>
</body>
</html>
"""


def page(found: Report, svg: str) -> str:
    """The page; `svg` is the drawing as matplotlib writes it."""
    tables = [
        _table("Figures", words.FIGURES, words.figures(found)),
        _paragraph(words.regret(found)),
        _table(
            "Experts: share of decisions, and reward gained by each alone",
            words.expert_columns(found),
            words.experts(found),
        ),
        _paragraph(words.drift(found)),
        _table("Answers by predicted quality", words.BINS, words.bins(found)),
        _paragraph(words.calibration(found)),
        _paragraph(words.unread(found)),
    ]
    return PAGE.format(title=_text(words.title(found)), drawing=_drawing(found, svg), tables="\n".join(tables))


def described(found: Report) -> str:
    """The drawing in words, for those who can't see it."""
    top = ", ".join(f"{name} {share}" for name, share, *_ in list(words.experts(found))[:3])
    told = "; ".join(f"{name}: {value}" for name, value, *_ in words.figures(found))
    return (
        "Four panels. What each expert alone would have gained against what was routed, with intervals. "
        f"The share of each expert over time (most: {top or 'nobody'}). {told}. "
        f"Predicted against observed quality. {words.drift(found)} {words.calibration(found)}"
    )


def _drawing(found: Report, svg: str) -> str:
    """The drawing with a name and a description, and without what only stands in a file of its own."""
    _, _, inside = svg.partition("<svg ")
    head, _, body = inside.partition(">")
    kept = head[head.index("viewBox=") :].partition('"')
    box = kept[2].partition('"')[0]
    return (
        f'<svg viewBox="{box}" role="img" aria-labelledby="drawing-title drawing-text" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="drawing-title">{_text(words.title(found))}</title>'
        f'<desc id="drawing-text">{_text(described(found))}</desc>{body}'
    )


def _paragraph(words: str) -> str:
    return f"<p>{_text(words)}</p>" if words else ""


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Nothing where there is no row."""
    right = [column.startswith(">") for column in columns]
    head = "".join(_cell("th", column.lstrip(MARKS), number) for column, number in zip(columns, right, strict=True))
    body = "\n".join(
        f"<tr>{''.join(_cell('td', cell, number) for cell, number in zip(row, right, strict=True))}</tr>"
        for row in rows
    )
    if not body:
        return ""
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _cell(tag: str, content: object, number: bool) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    kind = ' class="number"' if number else ""
    return f"<{tag}{scope}{kind}>{_text(ABSENT if content is None else str(content))}</{tag}>"


def _text(words: str) -> str:
    return escape(harmless(words))
