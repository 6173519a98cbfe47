"""What was heard of one expert's answer so far: the call's own facts and what each voice judged, as one reward.

Parts come in any order, days apart, some again with better figures. The reward in force is worked out from all of them
each time, so that the order does not matter, and an arm is told the difference alone: every answer counts once.

    weight = 1 where the call's own facts make a reward, else the sum of the voices' shares, at most 1
    value  = (sum of share x reward of each voice + what is left of 1 x the call's own reward) / (sum of all those)

A voice that has no room left (learning.voices) has no share, and one with share s moves weight x value by s at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Self

from crew_moe.learning.rewards import Facts, Rewards

MAX_VOICES: Final = 16
"""Of one answer; who comes later is not heard."""


class Worth(NamedTuple):
    """A reward, and how much of an observation it is; both in [0, 1]."""

    weight: float = 0.0
    value: float = 0.0


NOTHING: Final = Facts()
UNTOLD: Final = Worth()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """`own` are the call's facts, `voices` what each said and its share. `told` is what the arm was told last, at the
    time when all arms together had `clock` observations; `spent_usd` is what the horizon's price was told,
    None where it was told nothing.
    """

    own: Facts = NOTHING
    voices: Mapping[str, tuple[Facts, float]] = field(default_factory=dict)
    told: Worth = UNTOLD
    clock: float = 0.0
    spent_usd: float | None = None

    def served(self, facts: Facts, spent_usd: float) -> Hearing:
        """After the call's own facts and its bill, or newer ones."""
        return replace(self, own=self.own.but(facts), spent_usd=spent_usd)

    def judged(self, voice: str, facts: Facts, share: float) -> Hearing:
        """After a voice; one that has no share, or comes when too many have spoken, changes nothing."""
        if share <= 0.0 or (voice not in self.voices and len(self.voices) >= MAX_VOICES):
            return self
        return replace(self, voices={**self.voices, voice: (facts, share)})

    def worth(self, rewards: Rewards, expected: float | None = None) -> Worth:
        """The reward in force. A call that worked and that nobody has judged tells of no quality but the one that was
        `expected`: if it counted as the best there is, an expert whose judges have no room left would be praised for
        answering at all. Without an expectation it counts as a success.
        """
        unjudged = self._as_expected(expected)
        told = ((facts, share, self.own if facts.judged else unjudged) for facts, share in self.voices.values())
        said = [(share, rewards.of(own.but(facts))) for facts, share, own in told]
        parts = [(share, value) for share, value in said if value is not None]
        shares = math.fsum(share for share, _ in parts)
        own = rewards.of(unjudged)
        if own is not None:
            parts.append((max(0.0, 1.0 - shares), own))
        total = math.fsum(share for share, _ in parts)
        if total <= 0.0:
            return UNTOLD
        return Worth(min(1.0, total), math.fsum(share * value for share, value in parts) / total)

    def _as_expected(self, expected: float | None) -> Facts:
        if expected is None or not self.own.success or self.own.judged:
            return self.own
        return replace(self.own, quality=expected)

    def as_row(self) -> list[Any]:
        """JSON-ready; what `of_row` reads."""
        voices = {voice: [facts.as_dict(), share] for voice, (facts, share) in self.voices.items()}
        return [self.own.as_dict(), voices, list(self.told), self.clock, self.spent_usd]

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """Raises ValueError, TypeError or LookupError for a row of another shape."""
        own, voices, told, clock, spent_usd = row
        return cls(
            own=Facts(**own),
            voices={voice: (Facts(**facts), float(share)) for voice, (facts, share) in voices.items()},
            told=Worth(*told),
            clock=float(clock),
            spent_usd=None if spent_usd is None else float(spent_usd),
        )
