"""`crew-moe local train-gate`: a gate from the packaged lessons, examples and what became of earlier choices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, Config, config_folder, durable
from crew_moe.cli.output import say, show_table, write_json
from crew_moe.cli.steps import steps

if TYPE_CHECKING:
    from crew_moe.local_gate.gate.lessons import Lessons

ROWS: Final = 100_000  # of the log, newest first


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train-gate")(train_gate)


def train_gate(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the gate; made if absent.")],
    examples: Annotated[
        list[Path] | None,
        typer.Option("--examples", metavar="FILE", help='Lines of {"text": ..., "expert": ...}; repeatable.'),
    ] = None,
    from_log: Annotated[
        str | None, typer.Option("--from-log", metavar="URL", help="State whose decision log to learn from.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Train a gate and print how it does on lessons that it has not seen.

    It learns from the packaged lessons, the examples of local.yaml, those of --examples, and rows of the decision log
    whose expert did well or was put right.
    """
    from crew_moe.local_gate.gate.schooling import FOLDS, gate_of

    lessons, sources = _gathered(config, examples or [], from_log)
    with steps("training", FOLDS + 1) as step:
        file = gate_of(lessons, sources, step=step).save(out)
    told = {"gate": file.version, "out": str(out), **file.provenance}
    if as_json:
        write_json(told)
        return
    show_table(("Measure", ">Value"), _lines(told["figures"]))
    say(f"\n{file.version}: {', '.join(f'{count} lessons of {name}' for name, count in told['rows'].items())}.")
    said = ", ".join(f"{name} {count}" for name, count in told["lessons"].items())
    say(f"They came from: {said}.")
    say(f"Written to {out}; `gate: {{model: {out.resolve()}}}` in local.yaml uses it.")


def _gathered(config: Path | None, files: list[Path], url: str | None) -> tuple[Lessons, dict[str, int]]:
    """All lessons, and how many came from where."""
    from crew_moe.catalog.local import load_local
    from crew_moe.local_gate.gate.gate import packaged_lessons
    from crew_moe.local_gate.gate.lessons import Example, Lessons, read_examples

    hosts = load_local(config_folder(config)).hosts
    written = (Example(text=text, expert=name) for name, host in hosts.items() for text in host.examples)
    parts = [("local.yaml", Lessons.of(written))]
    parts += [(path.name, Lessons.of(read_examples(path))) for path in files]  # two may be called the same
    if url is not None:
        parts.append(("decision log", _logged(durable(url, "learning from the log"))))
    lessons = packaged_lessons()
    sources = {"packaged": len(lessons)}
    for name, part in parts:
        if len(part):
            lessons, sources[name] = lessons.plus(part), sources.get(name, 0) + len(part)
    return lessons, sources


def _logged(url: str) -> Lessons:
    from crew_moe.local_gate.gate.log import lessons_from_log
    from crew_moe.state import open_log

    with closing(open_log(url)) as log:
        return lessons_from_log(log.tail(ROWS))


def _lines(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{name.replace('_', ' ')} / ")
        else:
            yield (
                prefix + (name if prefix else name.replace("_", " ")),
                f"{value:.4f}" if isinstance(value, float) else str(value),
            )
