"""A game whose every answer is known: contexts, a logging policy that depends on them, and rewards of four arms."""

from __future__ import annotations

from typing import Final

import numpy as np

from crew_moe.learning.ope import Rounds
from crew_moe.learning.ope.rounds import Floats

ARMS: Final = 4
_RNG: Final = np.random.default_rng(20)
WEIGHTS: Final[Floats] = _RNG.normal(0.0, 0.15, (3, ARMS))
CONTEXTS: Final[Floats] = np.hstack([np.ones((4_000, 1)), _RNG.normal(0.0, 1.0, (4_000, 2))])
MEANS: Final[Floats] = 0.5 + CONTEXTS @ WEIGHTS
LOGGING: Final[Floats] = 0.4 * np.eye(ARMS)[(CONTEXTS[:, 1] > 0).astype(int)] + 0.6 / ARMS
CANDIDATE: Final[Floats] = 0.9 * np.eye(ARMS)[MEANS.argmax(axis=1)] + 0.1 / ARMS
TRUTH: Final = float((CANDIDATE * MEANS).sum(axis=1).mean())
LOGGED_TRUTH: Final = float((LOGGING * MEANS).sum(axis=1).mean())


def play(
    seed: int, count: int = 300, *, known: bool = True
) -> tuple[Rounds, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """A log of so many rounds, and which of CONTEXTS each was; `known`: with the probabilities of all arms."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(CONTEXTS), count)
    chances = LOGGING[drawn]
    action = (chances.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    reward = MEANS[drawn, action] + rng.normal(0.0, 0.3, count)
    rounds = Rounds.of(
        action=action,
        reward=reward,
        propensity=chances[np.arange(count), action],
        arms=ARMS,
        logging=chances if known else None,
    )
    return rounds, drawn
