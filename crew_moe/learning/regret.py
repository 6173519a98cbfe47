"""Regret: how much better one expert for everything, or the best one for each request, would have been.

Where every answer's worth is known, both are told exactly. From the log alone the first is an estimate, and the second
can't be told: nobody saw the answers that were not given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.episodes import Episode
from crew_moe.learning.ope import NoOverlap, Rounds, compare
from crew_moe.learning.proportion import Z
from crew_moe.learning.truth import Grade, Truth
from crew_moe.learning.untold import Untold, Why

LEVEL: Final = 0.95
PLAIN: Final = "snips"
MODELLED: Final = "sndr"

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Worth = Callable[[Grade], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A mean difference in reward per decision, with its 95 % interval; above 0: the other would have been better.

    `low` and `high` are None where there is too little to be sure of anything.
    """

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRegret:
    """Regret over `decisions` of which the worth of the choice and of others is known.

    `reward` is the mean of the choices, `best` that of the best single expert (where it was not eligible, the choice
    stands), `oracle` that of the best eligible expert each time.
    """

    decisions: int
    reward: float
    best_expert: str
    best: float
    oracle: float
    against_best: Gap
    against_oracle: Gap

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"ok": True, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One expert for everything, against what was routed. `evidence` is how many rounds of its own would tell as much
    (effective sample size).
    """

    expert_id: str
    gain: Gap
    evidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedRegret:
    """What the log lets one guess of `rounds` decisions whose reward is known, and whose mean is `reward`.

    `standings` are the experts that it speaks of, the best first; their intervals hold for all of them at once with
    95 %, so that the best of them may be looked at. `unsaid` are the others, each with the reason.
    """

    rounds: int
    reward: float
    estimator: str
    standings: tuple[Standing, ...]
    unsaid: tuple[tuple[str, str], ...]

    @property
    def best(self) -> Standing:
        return self.standings[0]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; the regret is what the best of the experts would have gained."""
        return {
            "ok": True,
            "rounds": self.rounds,
            "reward": self.reward,
            "estimator": self.estimator,
            "best_expert": self.best.expert_id,
            "regret": asdict(self.best.gain),
            "standings": [asdict(standing) for standing in self.standings],
            "unsaid": dict(self.unsaid),
        }


def estimated_regret(
    rounds: Rounds, experts: Sequence[str], eligible: Bools, predicted: Floats | None = None
) -> EstimatedRegret | Untold:
    """What each expert would have gained, had it served wherever it was `eligible`, (rounds, experts), and the logged
    choice stood elsewhere. Needs `rounds.logging`; `predicted` are a model's rewards as for `ope.evaluate`.
    """
    if not len(rounds) or rounds.logging is None:
        return Untold(why=Why.NOT_OBSERVED, message="of no decision is it known what it was worth")
    level = 1.0 - (1.0 - LEVEL) / len(experts)
    estimator = PLAIN if predicted is None else MODELLED
    standings, unsaid = [], []
    for arm, expert_id in enumerate(experts):
        alone = _alone(rounds.logging, eligible[:, arm], arm)
        found = compare(rounds, alone, rounds.logging, predicted, estimator=estimator, level=level)
        if isinstance(found, NoOverlap):
            unsaid.append((expert_id, found))
        else:
            gain = Gap(mean=found.value, low=found.low, high=found.high)
            standings.append(Standing(expert_id=expert_id, gain=gain, evidence=found.effective_sample_size))
    if not standings:
        message = f"the log speaks of no expert for everything: {unsaid[0][1].message}"
        return Untold(why=Why.NO_OVERLAP, message=message)
    return EstimatedRegret(
        rounds=len(rounds),
        reward=float(rounds.reward.mean()),
        estimator=estimator,
        standings=tuple(sorted(standings, key=lambda one: -one.gain.mean)),
        unsaid=tuple((name, found.message) for name, found in unsaid),
    )


def _alone(logging: Floats, able: Bools, arm: int) -> Floats:
    """All the probability on one arm wherever it is able."""
    chances = np.where(able[:, None], 0.0, logging)
    chances[able, arm] = 1.0
    return chances


def known_regret(episodes: Sequence[Episode], truth: Truth, worth: Worth) -> KnownRegret | Untold:
    """The regret of the decisions that `truth` grades. An expert counts at a decision where it was eligible."""
    graded = [
        (episode, grades)
        for episode in episodes
        if (grades := truth.get(episode.decision_id)) and episode.expert_id in grades
    ]
    if not graded:
        return Untold(why=Why.NOT_OBSERVED, message="the truth names no decision of the log, or not who was chosen")
    names = sorted({name for episode, grades in graded for name in grades if _eligible(name, episode)})
    values = np.array([[_worth(name, episode, grades, worth) for name in names] for episode, grades in graded])
    chosen = np.array([worth(grades[str(episode.expert_id)]) for episode, grades in graded])
    alone = np.where(np.isnan(values), chosen[:, None], values)  # (decisions, experts)
    best = int(alone.mean(axis=0).argmax())
    oracle = np.fmax.reduce(values, axis=1)  # whoever was chosen is among them
    return KnownRegret(
        decisions=len(graded),
        reward=float(chosen.mean()),
        best_expert=names[best],
        best=float(alone[:, best].mean()),
        oracle=float(oracle.mean()),
        against_best=gap(alone[:, best] - chosen),
        against_oracle=gap(oracle - chosen),
    )


def gap(differences: Floats) -> Gap:
    """The mean of paired differences, with its interval by the normal distribution."""
    mean = float(differences.mean())
    if len(differences) < 2:
        return Gap(mean=mean, low=None, high=None)
    half = Z * float(differences.std(ddof=1)) / sqrt(len(differences))
    return Gap(mean=mean, low=mean - half, high=mean + half)


def _eligible(name: str, episode: Episode) -> bool:
    return name in episode.tiers or name == episode.expert_id


def _worth(name: str, episode: Episode, grades: Mapping[str, Grade], worth: Worth) -> float:
    """NaN where the expert was not eligible, or nobody knows."""
    return worth(grades[name]) if name in grades and _eligible(name, episode) else float("nan")
