"""Rounds: what was chosen, with which probability, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from crew_moe.errors import InvalidInput

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SLACK: Final = 1e-6  # by which probabilities may miss their sum


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rounds:
    """One entry a round: `action` (the arm's index), `reward`, and `propensity`, the probability that the action had.

    `logging` are the probabilities that every arm had, (rounds, arms); None where only that of the action is known.
    Then support is judged by the weights alone.
    """

    action: Ints
    reward: Floats
    propensity: Floats
    arms: int
    logging: Floats | None = None

    @classmethod
    def of(cls, *, action: Any, reward: Any, propensity: Any, arms: int, logging: Any = None) -> Self:
        """From anything that is an array. Raises InvalidInput for shapes and values that can't be."""
        made = cls(
            action=np.asarray(action, dtype=np.int64),
            reward=np.asarray(reward, dtype=np.float64),
            propensity=np.asarray(propensity, dtype=np.float64),
            arms=arms,
            logging=None if logging is None else np.asarray(logging, dtype=np.float64),
        )
        made._check()
        return made

    def __len__(self) -> int:
        return len(self.action)

    def chosen(self, table: Floats) -> Floats:
        """Of each row of (rounds, arms) the entry of the action, (rounds,)."""
        return table[np.arange(len(self)), self.action]

    def taken(self, index: npt.NDArray[Any]) -> Rounds:
        """Some of the rounds."""
        return Rounds(
            action=self.action[index],
            reward=self.reward[index],
            propensity=self.propensity[index],
            arms=self.arms,
            logging=None if self.logging is None else self.logging[index],
        )

    def _check(self) -> None:
        shapes = {self.action.shape, self.reward.shape, self.propensity.shape}
        if len(shapes) != 1 or self.action.ndim != 1:
            raise InvalidInput("one action, reward and propensity is needed for each round", where="rounds")
        if len(self) and not (self.action.min() >= 0 and self.action.max() < self.arms):
            raise InvalidInput(f"an action is no index of {self.arms} arms", where="rounds: action")
        if not np.isfinite(self.reward).all():
            raise InvalidInput("a reward is not finite", where="rounds: reward")
        if not ((self.propensity > 0.0) & (self.propensity <= 1.0 + SLACK)).all():
            raise InvalidInput(
                "what was chosen had a probability above 0, and of at most 1", where="rounds: propensity"
            )
        if self.logging is not None:
            checked_chances(self.logging, self, "rounds: logging")
            if not np.allclose(self.chosen(self.logging), self.propensity, rtol=1e-6, atol=1e-9):
                raise InvalidInput("it contradicts the propensities", where="rounds: logging")


def checked_chances(chances: Floats, rounds: Rounds, where: str) -> Floats:
    """The probabilities themselves; raises InvalidInput where they are none. What a round's lack of 1 is the share of
    refusals.
    """
    if chances.shape != (len(rounds), rounds.arms):
        raise InvalidInput(f"its shape is {chances.shape}, not {(len(rounds), rounds.arms)}", where=where)
    sums = chances.sum(axis=1)
    if not ((chances >= 0.0).all() and (sums <= 1.0 + SLACK).all()):
        raise InvalidInput("the probabilities of a round are not negative and add up to 1 at most", where=where)
    return chances
