"""What bandits remember: for each expert a linear model of its reward, and one of what is common to all of them.

An arm's reward is x . (w + d): the weights w are those of the pool, which learns from every arm what makes a request
easy or hard, and d is how this arm differs, shrunk towards nothing by a ridge. So an expert that was never tried starts
from what experts usually earn on such a request and not from 0, and a few rewards are enough to rank it (empirical
Bayes; Robbins 1956). Without a pool w is 0, and each arm is the ridge regression of LinUCB.

Reward, cost and what else is learned are floats about 0 to 1; x is a context vector, (features,).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from crew_moe.errors import StateError

Floats = npt.NDArray[np.float64]

FORMAT: Final = "crew-moe.arm/1"
POOL_PRECISION: Final = 1.0  # of the pool's own weights, which all rewards inform


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The posterior of one linear model. `inverse` is (features, features), the inverse of the precision: prior + the
    sum of x x' of what was seen; `moment` (features,) the sum of x times reward.

    `seen` counts observations, faded ones by what is left of them; `at` is the number of observations of all arms
    together when this one last learned.
    """

    inverse: Floats
    moment: Floats
    seen: float = 0.0
    at: float = 0.0

    @classmethod
    def fresh(cls, precision: Floats, *, at: float = 0.0) -> Self:
        """Nothing seen; `precision` (features,) is the ridge of each weight."""
        return cls(inverse=np.diag(1.0 / precision), moment=np.zeros(len(precision)), at=at)

    def learned(self, x: Floats, reward: float, *, at: float | None = None) -> Self:
        """One observation more, by Sherman and Morrison's formula: the inverse is never computed anew."""
        turned = self.inverse @ x
        step = turned / math.sqrt(1.0 + turned @ x)  # times itself it is symmetric to the last bit
        return type(self)(
            inverse=self.inverse - step[:, None] * step,
            moment=self.moment + reward * x,
            seen=self.seen + 1.0,
            at=self.at if at is None else at,
        )

    def corrected(self, x: Floats, change: float) -> Self:
        """The reward of an observation that was learned already turned out higher by `change`; it counts once."""
        return replace(self, moment=self.moment + change * x)

    def faded(self, kept: float, precision: Floats) -> Self:
        """All that was seen counts `kept` as much; the prior stays whole."""
        prior = np.diag(precision)
        whole = kept * (np.linalg.inv(self.inverse) - prior) + prior
        inverse = np.linalg.inv(whole)
        return replace(self, inverse=(inverse + inverse.T) / 2.0, moment=kept * self.moment, seen=kept * self.seen)

    def to_bytes(self) -> bytes:
        """A line of JSON and the numbers, which `from_bytes` reads on any machine."""
        count = len(self.moment)
        head = {"format": FORMAT, "features": count, "seen": self.seen, "at": self.at}
        numbers = np.concatenate([self.inverse[np.triu_indices(count)], self.moment])
        return json.dumps(head).encode() + b"\n" + numbers.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Raises StateError where the bytes are not an arm's."""
        line, _, body = content.partition(b"\n")
        try:
            head = json.loads(line)
            numbers = np.frombuffer(body, dtype="<f8").astype(np.float64)
            return cls._of(head, numbers)
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"these bytes are no arm ({FORMAT}): {type(error).__name__}") from None

    @classmethod
    def _of(cls, head: Mapping[str, Any], numbers: Floats) -> Self:
        count = int(head["features"])
        corner = count * (count + 1) // 2
        if head["format"] != FORMAT or len(numbers) != corner + count or not np.isfinite(numbers).all():
            raise ValueError("another format, length or a number that is none")
        inverse = np.zeros((count, count))
        inverse[np.triu_indices(count)] = numbers[:corner]
        inverse += np.triu(inverse, 1).T
        return cls(inverse=inverse, moment=numbers[corner:], seen=float(head["seen"]), at=float(head["at"]))


class Outlook(NamedTuple):
    """What every arm promises for one context: the expected reward, and its standard deviation where the noise of one
    reward has that of 1; each (arms,).
    """

    mean: Floats
    width: Floats


class Arms:
    """The arms of several experts, stacked so that all are asked by one operation.

    It learns in place: whoever shares it between threads locks it. `precision` (features,) is the ridge of each weight
    of an arm. With a `half_life` an observation counts half after that many observations of all arms together: an
    expert that is passed over becomes uncertain again, which gives it another try.
    """

    def __init__(
        self,
        known: Mapping[str, Arm],
        precision: Floats,
        *,
        pool: Arm | None = None,
        half_life: float | None = None,
    ) -> None:
        self.ids = tuple(known)
        self.precision = precision
        self._fading = 0.0 if half_life is None else 1.0 / half_life
        self.pool = pool
        self._row = {expert_id: row for row, expert_id in enumerate(self.ids)}
        self._inverse = np.array([arm.inverse for arm in known.values()])  # (arms, features, features)
        self._moment = np.array([arm.moment for arm in known.values()])  # (arms, features)
        self._seen = np.array([arm.seen for arm in known.values()])
        self._at = np.array([arm.at for arm in known.values()])
        self._clock = max(float(self._at.max()), 0.0 if pool is None else pool.at)
        self._pull = np.zeros_like(precision)
        self._common = np.zeros_like(precision)
        self._heed_pool()

    @classmethod
    def fresh(
        cls, ids: Sequence[str], precision: Floats, *, pooled: bool = True, half_life: float | None = None
    ) -> Self:
        """Arms that have seen nothing."""
        pool = Arm.fresh(pool_precision(precision)) if pooled else None
        return cls({one: Arm.fresh(precision) for one in ids}, precision, pool=pool, half_life=half_life)

    @property
    def observations(self) -> float:
        """How many rewards all arms have learned from together."""
        return self._clock

    def arm(self, expert_id: str) -> Arm:
        """One arm as it is now."""
        row = self._row[expert_id]
        return Arm(
            inverse=self._inverse[row].copy(),
            moment=self._moment[row].copy(),
            seen=float(self._seen[row]),
            at=float(self._at[row]),
        )

    def outlook(self, x: Floats) -> Outlook:
        """What to expect of each arm for a context, in the order of `ids`."""
        turned = self._inverse @ x  # (arms, features)
        mean = np.einsum("af,af->a", turned, self._moment + self._pull)
        variance = turned @ x
        if self._fading:
            prior = float(x @ (x / self.precision))
            variance = np.minimum(variance / self._kept(self._at), prior)
        return Outlook(mean, np.sqrt(variance))

    def learn(self, expert_id: str, x: Floats, reward: float) -> None:
        """One arm was chosen for a context, and this is what it earned."""
        row, now = self._row[expert_id], self._clock + 1.0
        arm = self._at_time(row, now)
        if self.pool is not None:
            own = (arm.inverse @ x) @ (arm.moment + self._pull) - self._common @ x
            self.pool = self._pool_at(self.pool, now).learned(x, float(reward - own), at=now)
            self._heed_pool()
        self._keep(row, arm.learned(x, reward, at=now))
        self._clock = now

    def correct(self, expert_id: str, x: Floats, change: float, *, age: float = 0.0) -> None:
        """A reward learned `age` observations ago changed by this much: feedback that came late, or in parts."""
        row = self._row[expert_id]
        change *= self._left_of(age)
        self._moment[row] += change * x
        if self.pool is not None:
            self.pool = self.pool.corrected(x, change)
            self._heed_pool()

    def _at_time(self, row: int, now: float) -> Arm:
        """The arm with what it saw faded up to then."""
        arm = Arm(
            inverse=self._inverse[row], moment=self._moment[row], seen=float(self._seen[row]), at=float(self._at[row])
        )
        kept = self._left_of(now - arm.at)
        return arm if kept == 1.0 else arm.faded(kept, self.precision)

    def _keep(self, row: int, arm: Arm) -> None:
        self._inverse[row], self._moment[row] = arm.inverse, arm.moment
        self._seen[row], self._at[row] = arm.seen, arm.at

    def _pool_at(self, pool: Arm, now: float) -> Arm:
        kept = self._left_of(now - pool.at)
        return pool if kept == 1.0 else pool.faded(kept, pool_precision(self.precision))

    def _heed_pool(self) -> None:
        if self.pool is not None:
            self._common = self.pool.inverse @ self.pool.moment
            self._pull = self.precision * self._common

    def _left_of(self, age: float) -> float:
        return 1.0 if not self._fading else min(1.0, 2.0 ** (-age * self._fading))

    def _kept(self, at: Floats) -> Floats:
        kept: Floats = np.exp2((at - self._clock) * self._fading)
        return kept


def pool_precision(precision: Floats) -> Floats:
    """The ridge of what is common to all arms: weak, for every reward tells of it."""
    return np.full_like(precision, POOL_PRECISION)
