"""The quality model: what predicting costs, and how well it routes on graded questions that it has not seen.

`python -m tests.benchmarks.quality [--data DIR] [--seeds N] [--json] [--check] [--only NAME ...]`. DIR has two folders,
train and val, with tables of the same names as `crew-moe quality fit` reads them; without it only the time is measured.
For llmrouter, zeroeval and routellm (public outcomes) the figures stand beside targets, and beside what others reached
on other rows of the same sources. Several seeds tell how much of a figure is luck.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Final

import numpy as np
from rich.console import Console

from crew_moe.learning.quality.frontier import figures
from crew_moe.learning.quality.pairs import pair_figures
from crew_moe.learning.quality.table import Table, read_tables
from crew_moe.learning.quality.training import fit_part
from crew_moe.learning.quality_model import QualityModel, fit
from crew_moe.screening.dataset import SUFFIXES, read_rows
from tests.benchmarks.figure import Figure
from tests.benchmarks.material import text_of
from tests.benchmarks.measure import in_turns, sample_ns, timing
from tests.benchmarks.program import Suites, arguments, run

EXPERTS: Final = 27
CHARS: Final = 2_000
ROWS: Final = 400
FEW: Final = 1_500
WEAK: Final = "mixtral-8x7b-instruct-v0.1"
STRONG: Final = "gpt-4-1106-preview"
TRAIN, VAL = "train", "val"
KNOWN: Final = ("time", "llmrouter", "routellm", "zeroeval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A figure: where it stands among all, its target, and what others reached: best single, LightGBM on hand features,
    neighbours by MiniLM embeddings, means of classified tasks; None where that is not known.
    """

    path: tuple[str, ...]
    name: str
    at_least: float | None = None
    at_most: float | None = None
    others: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)

    @property
    def note(self) -> str:
        names = ("best single", "LightGBM", "neighbours", "task means")
        told = [f"{name} {one:g}" for name, one in zip(names, self.others, strict=True) if one is not None]
        return ", ".join(told)


ROUTED: Final[Mapping[str, Sequence[Wanted]]] = {
    "llmrouter": (
        Wanted(path=("router", "aiq"), name="AIQ", at_least=0.655, others=(0.587, 0.631, 0.623, 0.643)),
        Wanted(path=("aiq_gap_closed",), name="gap closed", at_least=0.33, others=(0.0, 0.218, 0.175, 0.272)),
        Wanted(path=("aiq_log_gap_closed",), name="gap closed, log cost", at_least=0.33),
        Wanted(
            path=("quality_at_zero_cost_weight",),
            name="quality at zero cost weight",
            at_least=0.67,
            others=(0.621, 0.640, 0.638, 0.656),
        ),
        Wanted(
            path=("router", "cost_for_100pct_quality"),
            name="cost at the best single's quality",
            at_most=0.165,
            others=(1.0, 0.299, 0.422, 0.196),
        ),
    ),
    "zeroeval": (
        Wanted(path=("router", "aiq"), name="AIQ", at_least=0.825, others=(0.808, 0.808, 0.791, 0.819)),
        Wanted(path=("aiq_gap_closed",), name="gap closed", at_least=0.06, others=(0.0, 0.016, -0.122, 0.035)),
        Wanted(path=("aiq_log_gap_closed",), name="gap closed, log cost"),
        Wanted(
            path=("quality_at_zero_cost_weight",),
            name="quality at zero cost weight",
            others=(0.845, 0.837, 0.822, 0.852),
        ),
        Wanted(
            path=("router", "cost_for_100pct_quality"),
            name="cost at the best single's quality",
            at_most=0.70,
            others=(1.0, None, None, 0.788),
        ),
    ),
}
PAIRED: Final = (
    Wanted(path=("apgr",), name="APGR", at_least=0.70, others=(None, 0.663, 0.664, None)),
    Wanted(path=("cpt50",), name="CPT50", at_most=25.0, others=(None, 26.6, 30.6, None)),
    Wanted(path=("cpt80",), name="CPT80", at_most=54.0, others=(None, 60.0, 60.2, None)),
)
OF_FEW: Final = (Wanted(path=("apgr",), name="APGR", at_least=0.68),)
MOVED: Final = (Wanted(path=("apgr",), name="APGR", at_least=0.62, others=(None, 0.626, 0.5, None)),)
PLAIN: Final = tuple(Wanted(path=one.path, name=one.name) for one in ROUTED["llmrouter"])
NEVER: Final = 9.99  # in the place of a cost at which a quality is never reached


def latency(*, calls: int, rounds: int) -> Iterator[Figure]:
    """CPU time of one prediction for many experts."""
    rng, random = np.random.default_rng(0), Random(0)
    words = [f"word{number}" for number in range(800)]
    table = _made([" ".join(random.choices(words, k=80)) for _ in range(ROWS)], rng)
    model, text = QualityModel(parts=(fit_part(table)[0],)), text_of(CHARS)
    seen = in_turns({"one": lambda: timing(sample_ns(lambda _: model.predict(text), calls))}, rounds=rounds)["one"]
    name = f"predict, {EXPERTS} experts, {CHARS:,} characters"
    yield Figure(group="quality model", name=name, value=seen.p50_us, unit="us", at_most=1_000.0, note="CPU p50")


def _made(texts: Sequence[str], rng: np.random.Generator) -> Table:
    from crew_moe.learning.quality.sight import see

    return Table(
        source="made up",
        experts=tuple(f"expert-{number:02}" for number in range(EXPERTS)),
        seen=tuple(see(text) for text in texts),
        quality=rng.integers(0, 2, (len(texts), EXPERTS)).astype(np.float64),
        cost=rng.random((len(texts), EXPERTS)),
        labels=tuple(f"task-{number % 15}" for number in range(len(texts))),
        finer=("",) * len(texts),
    )


def routing(data: Path, name: str, seeds: Sequence[int]) -> Iterator[Figure]:
    """One set of graded questions: trained on train, judged on val."""
    train, val = _read(data, TRAIN, name), _read(data, VAL, name)
    told, took = [], []
    for seed in seeds:
        begun = time.process_time()
        model = fit([train], seed=seed)
        took.append(time.process_time() - begun)
        told.append(_routed(model, val))
    group = f"{name}: {len(train):,} rows learned from, {len(val):,} judged"
    yield from _figures(group, ROUTED.get(name, PLAIN), told)
    yield Figure(group=group, name="training", value=fmean(took), unit="s", at_most=180.0, note="CPU")


def pairs(data: Path, seeds: Sequence[int]) -> Iterator[Figure]:
    """The choice between a weak and a strong expert: all labels, few, and texts of another kind."""
    train, val = _read(data, TRAIN, "routellm"), _read(data, VAL, "routellm")
    clean = {str(row["query_id"]): not row["contaminated"] for row in read_rows(_file(data, VAL, "routellm"), ())}
    kept = val.among([row for row, is_clean in enumerate(clean.values()) if is_clean])
    mmlu, gsm8k = _labelled(train, "mmlu"), _labelled(train, "gsm8k")
    few = mmlu.among(sorted(Random(0).sample(range(len(mmlu)), FEW)))
    tries: Sequence[tuple[str, Table, Table, Sequence[Wanted]]] = (
        ("judged on mmlu", train, _labelled(kept, "mmlu"), PAIRED),
        ("mmlu alone", mmlu, _labelled(kept, "mmlu"), PAIRED),
        (f"mmlu with {FEW:,} labels", few, _labelled(kept, "mmlu"), OF_FEW),
        ("learned from mmlu, judged on gsm8k", mmlu, _labelled(val, "gsm8k"), MOVED),
        ("learned from gsm8k, judged on mmlu", gsm8k, _labelled(kept, "mmlu"), MOVED),
    )
    for name, learned, judged, wanted in tries:
        group = f"routellm, {name}: {len(learned):,} rows learned from, {len(judged):,} judged"
        yield from _figures(group, wanted, [_paired(learned, judged, seed) for seed in seeds])


def _figures(group: str, wanted: Sequence[Wanted], told: Sequence[Mapping[str, Any]]) -> Iterator[Figure]:
    for one in wanted:
        values = [_value(one.path, figures) for figures in told]
        spread = f"seeds {min(values):.3f} to {max(values):.3f}; " if len(values) > 1 else ""
        yield Figure(
            group=group,
            name=one.name,
            value=fmean(values),
            unit="%" if one.name.startswith("CPT") else "",
            at_least=one.at_least,
            at_most=one.at_most,
            note=spread + one.note,
        )


def _value(path: Sequence[str], told: Any) -> float:
    for name in path:
        told = told[name]
    return NEVER if told is None else float(told)


def _routed(model: QualityModel, table: Table) -> Mapping[str, Any]:
    (part,) = model.parts
    said = part.predict(table.seen, [None] * len(table))
    return figures(table.experts, said.quality, said.cost_usd, table.quality, table.cost)


def _paired(learned: Table, judged: Table, seed: int) -> Mapping[str, Any]:
    part, _ = fit_part(learned, seed)
    quality = part.predict(judged.seen, [None] * len(judged)).quality
    weak, strong = (judged.experts.index(one) for one in (WEAK, STRONG))
    return pair_figures(quality[:, strong] - quality[:, weak], judged.quality[:, weak], judged.quality[:, strong])


def _labelled(table: Table, label: str) -> Table:
    return table.among([row for row, one in enumerate(table.labels) if one == label])


def _file(data: Path, split: str, name: str) -> Path:
    return next(path for suffix in SUFFIXES if (path := data / split / f"{name}{suffix}").is_file())


def _read(data: Path, split: str, name: str) -> Table:
    (table,) = read_tables(_file(data, split, name), None)
    return table


def _names(data: Path) -> list[str]:
    """Tables that stand in both folders."""
    both = [{path.stem for path in (data / split).glob("*") if path.suffix in SUFFIXES} for split in (TRAIN, VAL)]
    return sorted(both[0] & both[1])


def suites(data: Path | None, seeds: Sequence[int], *, quick: bool) -> Suites:
    calls, rounds = (100, 3) if quick else (300, 9)
    found: dict[str, Callable[[], Iterator[Figure]]] = {"time": partial(latency, calls=calls, rounds=rounds)}
    for name in _names(data) if data else ():
        assert data is not None
        found[name] = partial(pairs, data, seeds) if name == "routellm" else partial(routing, data, name, seeds)
    return found


def main() -> int:
    parser = arguments("bench-quality", __doc__, KNOWN)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with train and val")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="train that many times")
    given = parser.parse_args()
    chosen = suites(given.data, range(given.seeds), quick=given.quick)
    missing = [name for name in given.only if name not in chosen]
    if missing:
        where = f"no such tables in {given.data}/{TRAIN} and /{VAL}" if given.data else "no --data DIR is given"
        Console(stderr=True).print(f"skipped: {', '.join(missing)}: {where}", style="yellow")
    others = [name for name in chosen if name not in KNOWN] if given.only == list(KNOWN) else []
    given.only = [name for name in given.only if name in chosen] + others
    return run(given, chosen)


if __name__ == "__main__":
    sys.exit(main())
