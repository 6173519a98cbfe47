"""How exact off-policy evaluation is: graded questions are played under a logging policy, again and again, and every
estimator has to tell from each log alone what another policy would have been worth, which the grades tell exactly.

    python -m tests.benchmarks.ope --data GRADED.parquet [--prior OTHER.parquet] [--label COLUMN]

A row of GRADED has `prompt`, and of every expert `q:<expert>` (quality) and `c:<expert>` (US$). A reward is quality -
0.3 times the cost, in mean costs of the dearest expert. The reward model is cross-fitted on the log; with --prior it
begins from what was learned of other graded questions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from crew_moe.learning.graded import Graded, read_graded
from crew_moe.learning.ope import DEFAULT, ESTIMATORS, WITH_PRIOR, Demanded, NoOverlap, Rounds, cross_fitted, evaluate
from crew_moe.learning.ope.rounds import Floats
from crew_moe.screening.dataset import read_rows

ROUNDS: Final = 1_000
REPLICATES: Final = 500
RMSE: Final = 0.030
COVERAGE: Final = 0.93
COST_WEIGHT: Final = 0.3
WARMTH: Final = 0.2  # of the softmax over the experts' mean rewards
EXPLORED: Final = 0.2
WIDTH: Final = 180


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """`context` (questions, features), `reward` and what `prior` says of it, both (questions, experts)."""

    context: Floats
    reward: Floats
    cheapest: int
    kind: np.ndarray[Any, Any]
    prior: Floats | None
    learned: Floats


@dataclass(slots=True)
class Tally:
    """What one estimator said in all replicates: its errors, whether its interval held the truth, how wide it was."""

    errors: list[float] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    refused: int = 0

    def figures(self) -> dict[str, float | int | None]:
        seen = bool(self.errors)
        return {
            "rmse": float(np.sqrt(np.mean(np.square(self.errors)))) if seen else None,
            "bias": float(np.mean(self.errors)) if seen else None,
            "coverage": float(np.mean(self.held)) if seen else None,
            "width": float(np.mean(self.widths)) if seen else None,
            "refused": self.refused,
        }


def world(path: Path, prior: Path | None, label: str | None) -> World:
    table, kind = _questions(path, None, label)
    dearest = table.dearest
    reward = table.quality - COST_WEIGHT * table.cost / dearest
    context = np.hstack([table.contexts, _one_hot(kind, kind)])
    other, told = (table, kind) if prior is None else _questions(prior, table.experts, label)
    graded = other.quality - COST_WEIGHT * other.cost / dearest
    learned = _ridge(np.hstack([other.contexts, _one_hot(told, kind)]), graded, context)
    cheapest = int(table.cost.mean(axis=0).argmin())
    return World(
        context=context, reward=reward, cheapest=cheapest, kind=kind, prior=learned if prior else None, learned=learned
    )


def _questions(path: Path, experts: Sequence[str] | None, label: str | None) -> tuple[Graded, np.ndarray[Any, Any]]:
    table = read_graded([path], experts)
    kind = [str(row[label]) for row in read_rows(path, (label,))] if label else [""] * len(table.contexts)
    return table, np.array(kind)


def _one_hot(kind: np.ndarray[Any, Any], of: np.ndarray[Any, Any]) -> Floats:
    made: Floats = (kind[:, None] == np.unique(of)[None, :]).astype(np.float64)
    return made


def _ridge(context: Floats, reward: Floats, asked: Floats) -> Floats:
    mean, middle = reward.mean(axis=0), context.mean(axis=0)
    seen = context - middle
    weights = np.linalg.solve(seen.T @ seen + 10.0 * np.eye(seen.shape[1]), seen.T @ (reward - mean))
    predicted: Floats = mean + (asked - middle) @ weights
    return predicted


def _softmax(score: Floats, warmth: float) -> Floats:
    raised = np.exp((score - score.max(axis=1, keepdims=True)) / warmth)
    chances: Floats = raised / raised.sum(axis=1, keepdims=True)
    return chances


def _always(choice: Any, of: World) -> Floats:
    chances: Floats = np.eye(of.reward.shape[1])[np.broadcast_to(choice, len(of.reward))]
    return chances


def _explored(chances: Floats, rate: float) -> Floats:
    mixed: Floats = (1.0 - rate) * chances + rate / chances.shape[1]
    return mixed


def _by_kind(of: World) -> Floats:
    choice = np.zeros(len(of.reward), dtype=np.int64)
    for kind in np.unique(of.kind):
        choice[of.kind == kind] = of.reward[of.kind == kind].mean(axis=0).argmax()
    return _always(choice, of)


LOGGED: Final[dict[str, Callable[[World], Floats]]] = {
    "uniform": lambda of: _explored(_always(of.cheapest, of), 1.0),
    "cheapest, explored 0.2": lambda of: _explored(_always(of.cheapest, of), EXPLORED),
    "softmax of means": lambda of: _softmax(np.tile(of.reward.mean(axis=0), (len(of.reward), 1)), WARMTH),
    "softmax of learned": lambda of: _explored(_softmax(of.learned, WARMTH), 0.1),
}
CANDIDATES: Final[dict[str, Callable[[World], Floats]]] = {
    "best single": lambda of: _always(of.reward.mean(axis=0).argmax(), of),
    "best of each kind": _by_kind,
    "learned": lambda of: _always(of.learned.argmax(axis=1), of),
    "learned, softly": lambda of: _softmax(of.learned, WARMTH / 4),
}


def measure(of: World, logged: Floats, candidate: Floats, *, replicates: int, rounds: int) -> dict[str, Tally]:
    """Every estimator on as many logs of so many questions, drawn with replacement."""
    truth = float((candidate * of.reward).sum(axis=1).mean())
    tallies = {name: Tally() for name in ESTIMATORS}
    for seed in range(replicates):
        rng = np.random.default_rng(seed)
        asked = rng.integers(0, len(of.reward), rounds)
        chances = logged[asked]
        action = (chances.cumsum(axis=1) > rng.random((rounds, 1))).argmax(axis=1)
        row = np.arange(rounds)
        log = Rounds.of(
            action=action,
            reward=of.reward[asked, action],
            propensity=chances[row, action],
            arms=chances.shape[1],
            logging=chances,
        )
        prior = None if of.prior is None else of.prior[asked]
        predicted = cross_fitted(log, of.context[asked], rng, prior=prior)
        for name, tally in tallies.items():
            told = evaluate(log, candidate[asked], predicted, estimator=name, demanded=Demanded(effective=1.0))
            if isinstance(told, NoOverlap):
                tally.refused += 1
                continue
            tally.errors.append(told.value - truth)
            tally.held.append(told.low <= truth <= told.high)
            tally.widths.append(told.high - told.low)
    return tallies


def pairs(of: World, chosen: Sequence[str]) -> Iterator[tuple[str, str, Callable[..., dict[str, Tally]]]]:
    for logging, make in LOGGED.items():
        if not chosen or logging in chosen:
            for name, candidate in CANDIDATES.items():
                yield logging, name, partial(measure, of, make(of), candidate(of))


def _row(logging: str, candidate: str, name: str, default: bool, told: dict[str, float | int | None]) -> list[str]:
    rmse, coverage = told["rmse"], told["coverage"]
    meets = rmse is not None and coverage is not None and rmse <= RMSE and coverage >= COVERAGE
    figures = (f"{told[key]:.3f}" if told[key] is not None else "-" for key in ("rmse", "bias", "coverage", "width"))
    return [logging, candidate, f"{name} (default)" if default else name, *figures, "yes" if meets else "no"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="ope", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="graded questions to play")
    parser.add_argument("--prior", type=Path, help="other graded questions, for the reward model to begin from")
    parser.add_argument("--label", help="a column that tells the kind of a question")
    parser.add_argument("--logging", nargs="+", default=(), choices=tuple(LOGGED), help="only these logging policies")
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not given.data.is_file():
        sys.stderr.write(f"{given.data} is not there; nothing measured\n")
        return 0
    of = world(given.data, given.prior, given.label)
    progress, told = Console(stderr=True), []
    default = WITH_PRIOR if given.prior else DEFAULT
    table = Table("logged", "candidate", "estimator", "RMSE", "bias", "coverage", "width", f"<= {RMSE}, >= {COVERAGE}")
    for logging, candidate, measured in pairs(of, given.logging):
        progress.print(f"{candidate} from {logging} ...", style="dim")
        for name, tally in measured(replicates=given.replicates, rounds=given.rounds).items():
            figures = tally.figures()
            table.add_row(*_row(logging, candidate, name, name == default, figures))
            told.append({"logged": logging, "candidate": candidate, "estimator": name, **figures})
        table.add_section()
    if given.json:
        json.dump(told, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
