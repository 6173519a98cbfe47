"""`crew-moe safety`: train the models of screening, screen a file, and measure how well screening does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, one_of
from crew_moe.cli.output import say, show_table, write_json
from crew_moe.cli.steps import steps
from crew_moe.domain.screening import Concern, Span
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.ports import Detector
    from crew_moe.screening.dataset import Row

LABELLED: Final = (Concern.PII, Concern.INJECTION, Concern.TOXICITY)  # there is data to measure these by
KINDS: Final = tuple(concern.value for concern in LABELLED)
LEARNED: Final = (Concern.INJECTION, Concern.TOXICITY)

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder with injection, toxicity or pii.parquet.")]
Model = Annotated[
    Path | None, typer.Option("--model", metavar="DIR", help="Folder that `train` wrote; default: the shipped models.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Train, use and measure the screening of texts.", rich_markup_mode=None)
    group.command("train")(train)
    group.command("predict")(predict)
    group.command("score")(score)
    app.add_typer(group, name="safety")


def train(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the models; made if absent.")],
    as_json: AsJson = False,
) -> None:
    """Train the models that DIR has data for, and print how they do on texts they have not seen."""
    from crew_moe.screening.dataset import read_examples
    from crew_moe.screening.recipes import RECIPES
    from crew_moe.screening.training import FOLDS
    from crew_moe.screening.training import train as learn

    files = {concern: path for concern, path in _files(data).items() if concern in LEARNED}
    if not files:
        raise InvalidInput("nothing to train on", where=str(data), allowed=[f"{one.value}.parquet" for one in LEARNED])
    given = {concern: read_examples(path) for concern, path in files.items()}
    _make(out)
    told = {}
    with steps("screening", len(files) * (FOLDS + 1)) as step:
        for concern, examples in given.items():
            trained = learn(RECIPES[concern], examples, step=step)
            trained.model.save(out)
            told[concern.value] = trained.held_out.figures()
    _tell(told, as_json)
    if not as_json:
        say(f"Written: {', '.join(str(out / f'{name}.npz') for name in told)} and what is known of them (.json).")


def predict(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="Texts: a table with the columns id and text.")],
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help=f"What to look for: {', '.join(KINDS)}.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write: .parquet, .csv or .jsonl.")],
    model: Model = None,
) -> None:
    """Screen every text of a table; writes id and score, for pii id and spans."""
    from crew_moe.screening.dataset import TEXTS, read_rows, write_rows

    one_of(kind, KINDS, "--kind")
    concern = Concern(kind)
    detector = _detector(concern, model)
    rows = read_rows(data, TEXTS)
    found = []
    with steps("screening", len(rows)) as step:
        for row in rows:
            found.append(_prediction(detector, row))
            step(kind)
    write_rows(out, found)
    say(f"{len(found)} texts screened by {detector.version}, written to {out}.")


def score(data: Data, model: Model = None, as_json: AsJson = False) -> None:
    """Measure screening on labelled texts.

    Without --model each text is scored by a model that was trained without it (five folds); with --model the given one
    scores everything, which says something only of texts that it was not trained on. Nothing is learned for pii.
    """
    files = _files(data)
    if not files:
        raise InvalidInput("nothing to measure on", where=str(data), allowed=[f"{name}.parquet" for name in KINDS])
    told = {concern.value: _figures(concern, path, model) for concern, path in files.items()}
    _tell(told, as_json)


def _files(data: Path) -> dict[Concern, Path]:
    if not data.is_dir():
        raise InvalidInput("there is no such folder", where=str(data))
    paths = {concern: data / f"{concern.value}.parquet" for concern in LABELLED}
    return {concern: path for concern, path in paths.items() if path.is_file()}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"can't be made ({error.strerror})", where=str(folder)) from None


def _detector(concern: Concern, model: Path | None) -> Detector:
    if concern is Concern.PII:
        from crew_moe.screening.pii.detector import PiiDetector

        return PiiDetector()
    from crew_moe.screening.linear import LinearModel
    from crew_moe.screening.recipes import RECIPES

    return RECIPES[concern].detector(None if model is None else LinearModel.load(concern, model))


def _prediction(detector: Detector, row: Row) -> dict[str, Any]:
    finding = detector.assess(row["text"])
    if finding.concern is not Concern.PII:
        return {"id": str(row["id"]), "score": finding.score}
    spans = [{"start": span.start, "end": span.end, "type": span.type} for span in finding.spans]
    return {"id": str(row["id"]), "spans": json.dumps(spans)}


def _figures(concern: Concern, path: Path, model: Path | None) -> dict[str, Any]:
    if concern is Concern.PII:
        return _pii_figures(path)
    from crew_moe.screening.dataset import read_examples
    from crew_moe.screening.recipes import RECIPES
    from crew_moe.screening.training import FOLDS, assessed
    from crew_moe.screening.training import train as learn

    examples, recipe = read_examples(path), RECIPES[concern]
    if model is not None:
        with steps("screening", len(examples)) as step:
            return assessed(recipe, _detector(concern, model), examples, step=lambda: step(concern.value)).figures()
    with steps("screening", FOLDS + 1) as step:
        return learn(recipe, examples, step=step).held_out.figures()


def _pii_figures(path: Path) -> dict[str, Any]:
    from crew_moe.screening.dataset import TEXTS, read_rows
    from crew_moe.screening.span_measures import span_figures

    detector = _detector(Concern.PII, None)
    rows = read_rows(path, (*TEXTS, "spans"))
    pairs = []
    with steps("screening", len(rows)) as step:
        for row in rows:
            pairs.append((_spans(row, path), detector.assess(row["text"]).spans))
            step("pii")
    return span_figures(pairs)


def _spans(row: Row, path: Path) -> list[Span]:
    try:
        given = json.loads(row["spans"]) if isinstance(row["spans"], str) else row["spans"]
        return [Span(start=int(one["start"]), end=int(one["end"]), type=str(one["type"])) for one in given]
    except (ValueError, TypeError, KeyError):
        where = f"{path}: id {row['id']}"
        raise InvalidInput("'spans' is not a list of {start, end, type}", where=where) from None


def _tell(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        write_json(told)
        return
    for name, figures in told.items():
        say(name, style="bold")
        show_table(("Measure", ">Value"), _lines(figures))


def _lines(figures: Any, prefix: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Nested figures as rows: `at 1pct fpr / recall by source / deepset`."""
    for name, value in figures.items():
        path = (*prefix, name.replace("_", " ") if not prefix or "source" not in prefix[-1] else name)
        if isinstance(value, dict):
            yield from _lines(value, path)
        else:
            yield " / ".join(path), f"{value:.4f}" if isinstance(value, float) else str(value)
