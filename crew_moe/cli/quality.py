"""`crew-moe quality`: learn how well each expert does at which text, predict it, and measure the predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson
from crew_moe.cli.output import err, harmless, say, show_table, write_json
from crew_moe.cli.steps import steps
from crew_moe.errors import InvalidInput

if TYPE_CHECKING:
    from crew_moe.learning.quality.table import Table
    from crew_moe.learning.quality_model import QualityModel

BATCH: Final = 256  # texts predicted at once

Model = Annotated[
    Path, typer.Option("--model", metavar="MODEL", help="What `fit` wrote: the folder, or one of its files.")
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels", metavar="COLUMN", help="Column that names each row's task; `none`: find tasks in the texts."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Learn, predict and measure how well experts do.", rich_markup_mode=None)
    group.command("fit")(fit)
    group.command("predict")(predict)
    group.command("score")(score)
    app.add_typer(group, name="quality")


def fit(
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="Where to write: a folder, or NAME.npz.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="PATH", help="Graded questions: a table, or a folder of tables.")
    ] = None,
    labels: Labels = None,
    from_log: Annotated[
        str | None, typer.Option("--from-log", metavar="URL", help="Learn from a decision log instead: its state URL.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every draw; the same seed gives the same model.")] = 0,
    embedder: Annotated[
        str | None,
        typer.Option("--embedder", metavar="MODULE:OBJECT", help="Learn from this embedder's vectors, too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn a quality model from graded questions, or from the feedback in a decision log."""
    from crew_moe.learning.quality.embedding import batches, load_embedder
    from crew_moe.learning.quality.training import STEPS
    from crew_moe.learning.quality_model import fit as learn

    if (data is None) == (from_log is None):
        raise InvalidInput("give one of them", where="quality fit", allowed=("--data PATH", "--from-log URL"))
    if embedder is not None and from_log is not None:
        raise InvalidInput("a log holds no text to embed", where="--embedder", allowed=("--data PATH",))
    chosen = None if embedder is None else load_embedder(embedder, file="--embedder", folder=Path.cwd())
    with steps("reading", None) as step:
        tables = _tables(data, labels, from_log, lambda: step("reading"))
    embedding = 0 if chosen is None else sum(batches(len(table)) for table in tables)
    with steps("learning", STEPS * len(tables) + embedding) as step:
        model = learn(tables, seed=seed, step=step, embedder=chosen).save(out)
    told = {"version": model.version, "experts": list(model.experts), **model.provenance}
    if chosen is not None:
        told["embedder"] = model.embedder_told
    if as_json:
        write_json(told)
        return
    show_table(("Source", ">Rows", ">Experts", ">Tasks", ">Explained"), [_line(one) for one in _parts(model)])
    say(f"{model.version} knows {len(model.experts)} experts, written to {out}.")


def predict(
    model: Model,
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="Texts: query_id and prompt (or text).")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write: .parquet, .csv or .jsonl.")],
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="COLUMN", help="Column whose task is to be taken as known.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict every expert's quality (p:) and cost in US$ (k:) at every text of a table."""
    from crew_moe.learning.quality.scoring import ID
    from crew_moe.learning.quality.table import text_column
    from crew_moe.learning.quality_model import QualityModel
    from crew_moe.screening.dataset import read_rows, write_rows

    learned = QualityModel.load(model, folder=Path.cwd())
    rows = read_rows(data, (ID, *([labels] if labels else [])))
    texts = _texts(rows, text_column(rows[0], str(data)), data)
    known = [str(row[labels]) if labels else None for row in rows]
    found: list[dict[str, Any]] = []
    unfamiliar = 0
    failed: dict[str, int] = {}
    with steps("predicting", len(rows)) as step:
        for start in range(0, len(rows), BATCH):
            batch = slice(start, start + BATCH)
            many = learned.predict_many(texts[batch], known[batch])
            unfamiliar += int((~many.familiar).sum())
            if many.failed:
                failed[many.failed] = failed.get(many.failed, 0) + len(many.familiar)
            for row, quality, cost in zip(rows[batch], many.quality, many.cost_usd, strict=True):
                found.append({ID: row[ID], **_prediction(learned.experts, quality, cost)})
                step("predicting")
    write_rows(out, found)
    for error, count in failed.items():
        err().print(harmless(f"the embedder failed at {count} texts ({error}): they are predicted without it"))
    if as_json:
        write_json({"version": learned.version, "rows": len(found), "unfamiliar": unfamiliar, "out": str(out)})
        return
    say(f"{len(found)} texts predicted by {learned.version} ({unfamiliar} unfamiliar), written to {out}.")


def score(
    data: Annotated[
        Path, typer.Option("--data", metavar="FILE", help="What came true: query_id, q:<expert>, c:<expert>.")
    ],
    pred: Annotated[Path, typer.Option("--pred", metavar="FILE", help="What `predict` wrote.")],
    cost_ref: Annotated[
        Path | None,
        typer.Option(
            "--cost-ref", metavar="FILE", help="Where no cost is predicted: go by the mean costs of this table."
        ),
    ] = None,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option("--pair", metavar="WEAK STRONG", help="Judge the choice between these two."),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="COLUMN=VALUE", help="Only such rows; may be repeated.")
    ] = None,
    drop_contaminated: Annotated[
        bool, typer.Option("--drop-contaminated", help="Leave out rows whose column `contaminated` is true.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well routing by predictions does: AIQ, gap closed, and for two experts APGR and CPT."""
    from crew_moe.learning.quality.scoring import Asked, scored

    asked = Asked(where=_conditions(where), drop_contaminated=drop_contaminated, pair=pair, cost_reference=cost_ref)
    told = scored(data, pred, asked)
    if as_json:
        write_json(told)
        return
    show_table(("Measure", ">Value"), _lines(told))


def _tables(data: Path | None, labels: str | None, from_log: str | None, step: Callable[[], None]) -> Sequence[Table]:
    from crew_moe.learning.quality.logged import read_logged
    from crew_moe.learning.quality.table import read_tables

    if data is not None:
        return read_tables(data, labels, step)
    if labels is not None:
        raise InvalidInput("a log's tasks are its task types", where="--labels", allowed=("--data PATH",))
    return [read_logged(str(from_log), step)]


def _parts(model: QualityModel) -> Sequence[Mapping[str, Any]]:
    parts: Sequence[Mapping[str, Any]] = model.provenance["parts"]
    return parts


def _line(part: Mapping[str, Any]) -> tuple[object, ...]:
    explained = part["held_out"]["explained_variance"]
    return part["source"], part["rows"], part["experts"], part["tasks"], f"{explained:.3f}"


def _texts(rows: Sequence[Mapping[str, Any]], column: str, data: Path) -> list[str]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get(column), str):
            raise InvalidInput(f"'{column}' is not text", where=f"{data}: row {number}")
    return [row[column] for row in rows]


def _prediction(experts: Sequence[str], quality: Any, cost: Any) -> dict[str, float]:
    """The columns of one text; an expert of which no cost is known has none."""
    predicted = {f"p:{expert_id}": float(one) for expert_id, one in zip(experts, quality, strict=True)}
    costs = {f"k:{expert_id}": float(one) for expert_id, one in zip(experts, cost, strict=True) if one == one}
    return predicted | costs


def _conditions(given: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for one in given or ():
        column, mark, value = one.partition("=")
        if not mark or not column:
            raise InvalidInput(f"'{one}' is no condition", where="--where", allowed=("COLUMN=VALUE",))
        found[column] = value
    return found


def _lines(told: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in told.items():
        path = prefix + name.replace("_", " ")
        if isinstance(value, dict):
            yield from _lines(value, f"{path} / ")
        else:
            yield path, "never" if value is None else _shown(value)


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if abs(value) >= 0.01 else f"{value:.3g}"
