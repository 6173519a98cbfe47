"""Bandits: what choosing and learning cost, and the regret on graded questions.

`python -m tests.benchmarks.bandits [--data FILE ... [--arms A,B] [--eval FILE] [--seeds 10]]`. Without --data only the
time of a round is measured. Files are as `crew-moe learn replay` reads them; each figure is the mean over the seeds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Final

import numpy as np

from crew_moe.domain.insight import Insight
from crew_moe.domain.request import RoutingRequest
from crew_moe.learning.arms import Arms
from crew_moe.learning.context import SIZE, context_vector, precision
from crew_moe.learning.graded import Graded, read_graded
from crew_moe.learning.offers import bandit_policy, offer, setting
from crew_moe.learning.replay import Replayed, replay
from crew_moe.routing.features import extract
from crew_moe.strategies.bandits import BANDITS
from tests.benchmarks.figure import Figure
from tests.benchmarks.material import text_of
from tests.benchmarks.measure import Timing, in_turns, sample_ns, timing
from tests.benchmarks.program import Suites, arguments, run

ARMS: Final = 27
COST_WEIGHT: Final = 0.3
CHARS: Final = 2_000


def bandit_rounds(*, calls: int, rounds: int) -> Iterator[Figure]:
    """CPU time of one round, the pick and the update of its arm, after some learning."""
    contenders: dict[str, Callable[[], Timing]] = {name: partial(_rounds, name, calls) for name in BANDITS}
    contenders["context"] = partial(_contexts, calls)
    seen = in_turns(contenders, rounds)
    figure = partial(Figure, group=f"bandits: pick and update, {ARMS} arms, {SIZE} features", unit="us")
    context = seen.pop("context")
    for name, found in seen.items():
        yield figure(name=name, value=found.p50_us, at_most=100.0, note=f"CPU p50; p99 {found.p99_us:,.0f} us")
    yield figure(name="the context of a text", value=context.p50_us, note=f"CPU p50, {CHARS:,} characters")


def regrets(data: Graded, evaluation: Graded | None, *, seeds: int) -> Iterator[Figure]:
    """One shuffled pass of every bandit: regret against the best fixed expert, and what the greedy choice earns."""
    best = float((data.quality - COST_WEIGHT * data.cost / (data.dearest or 1.0)).mean(axis=0).max())
    figure = partial(Figure, group=f"bandits: one pass over {len(data.contexts):,} rows, {len(data.experts)} arms")
    yield figure(name="best fixed expert", value=best, unit="reward")
    for name in BANDITS:
        found = [_replayed(name, data, evaluation, seed) for seed in range(seeds)]
        values = [one.regret_vs_best_fixed for one in found]
        spread = f"mean of {seeds} seeds, standard deviation {stdev(values) if seeds > 1 else 0.0:.0f}"
        yield figure(name=f"{name}: regret", value=fmean(values), unit="reward", note=spread)
        yield figure(
            name="  against the best of each row", value=fmean(o.regret_vs_oracle for o in found), unit="reward"
        )
        greedy = [one.eval_reward_greedy for one in found if one.eval_reward_greedy is not None]
        if greedy:
            yield figure(name="  greedy afterwards", value=fmean(greedy), unit="reward", note="on --eval")


@dataclass(frozen=True, slots=True)
class _Learning:
    """A bandit in the middle of its work; one call is one round."""

    name: str
    arms: Arms
    contexts: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    rng: Random

    def __call__(self, number: int) -> None:
        x = self.contexts[number % len(self.contexts)]
        mean, width = self.arms.outlook(x)
        ids = self.arms.ids
        known = Insight(
            mean=dict(zip(ids, mean.tolist(), strict=True)), width=dict(zip(ids, width.tolist(), strict=True))
        )
        chosen = BANDITS[self.name].select(setting(known, POLICY), OFFERS, self.rng).expert_id
        self.arms.learn(chosen, x, self.rng.random())


IDS: Final = [f"expert-{number}" for number in range(ARMS)]
POLICY: Final = bandit_policy()
OFFERS: Final = [offer(expert_id) for expert_id in IDS]


def _rounds(name: str, calls: int) -> Timing:
    rng = np.random.default_rng(1)
    contexts = np.column_stack([np.ones(256), rng.uniform(-1.0, 1.0, (256, SIZE - 1))])
    learning = _Learning(name, Arms.fresh(IDS, precision(1.0)), contexts, Random(1))
    for number in range(calls):
        learning(number)
    return timing(sample_ns(learning, calls))


def _contexts(calls: int) -> Timing:
    text = text_of(CHARS)
    features = extract(RoutingRequest(text=text))
    return timing(sample_ns(lambda _: context_vector(text, features), calls))


def _replayed(name: str, data: Graded, evaluation: Graded | None, seed: int) -> Replayed:
    return replay(
        data,
        BANDITS[name],
        bandit_policy(),
        cost_weight=COST_WEIGHT,
        seed=seed,
        clock=time.perf_counter,
        evaluation=evaluation,
    )


def suites(files: Sequence[Path], arms: str | None, evaluation: Path | None, *, seeds: int, quick: bool) -> Suites:
    calls, rounds = (200, 3) if quick else (1_000, 9)

    def on_data() -> Iterator[Figure]:
        data = read_graded(files, None if arms is None else arms.split(","))
        yield from regrets(data, None if evaluation is None else read_graded([evaluation], data.experts), seeds=seeds)

    timed: Suites = {"rounds": lambda: bandit_rounds(calls=calls, rounds=rounds)}
    return {**timed, "regret": on_data} if files else timed


def main() -> int:
    parser = arguments("bandits", __doc__, ("rounds", "regret"))
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE", help="graded questions")
    parser.add_argument("--arms", help="experts to choose from, with commas; default: all")
    parser.add_argument("--eval", type=Path, metavar="FILE", help="rows for the greedy choice afterwards")
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    chosen = suites(given.data, given.arms, given.eval, seeds=given.seeds, quick=given.quick)
    given.only = [name for name in given.only if name in chosen]
    return run(given, chosen)


if __name__ == "__main__":
    sys.exit(main())
