"""What somebody wants to try, checked before it becomes an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from re import fullmatch
from typing import Final

from crew_moe.domain.policy import Policy
from crew_moe.errors import InvalidInput
from crew_moe.learning.experiment.metrics import COMPARED, MAIN, MARGINS
from crew_moe.learning.experiment.plan import COHORTS, LEAST_SAMPLES, Experiment, Mode
from crew_moe.learning.experiment.power import WIDEST, Samples, samples_needed

NAME: Final = r"[a-z0-9][a-z0-9_.-]{0,63}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`candidate` is the text of its policy.yaml, `share` that of all keys which it gets, `spread` the standard
    deviation of one result in the metric. What `guardrails` does not name has its usual margin, and is passed over as
    long as nothing is told of it.
    """

    name: str
    candidate: str
    share: float = 0.5
    mode: str = Mode.AB.value
    metric: str = "reward"
    mde: float = 0.02
    alpha: float = 0.05
    spread: float = WIDEST
    guardrails: Mapping[str, float] = field(default_factory=dict)
    by: str | None = None
    min_samples: int = LEAST_SAMPLES

    def check(self) -> None:
        """Raises InvalidInput for what makes no experiment."""
        if fullmatch(NAME, self.name) is None:
            what = f"'{self.name[:80]}' is no name"
            raise InvalidInput(what, where="NAME", allowed=("up to 64 of a-z, 0-9, '-', '_' and '.'",))
        words: tuple[tuple[str, str | None, Sequence[str]], ...] = (
            ("--mode", self.mode, list(Mode)),
            ("--metric", self.metric, MAIN),
            ("--by", self.by, COHORTS),
            *(("--guardrail", one, COMPARED) for one in self.guardrails),
        )
        for where, word, allowed in words:
            if word is not None and word not in allowed:
                raise InvalidInput(f"'{word}' is not known", where=where, value=word, allowed=allowed)
        self._check_numbers()

    def _check_numbers(self) -> None:
        numbers = (
            ("--share", self.share, 1.0),
            ("--alpha", self.alpha, 0.5),
            ("--mde", self.mde, 1.0),
            ("--sd", self.spread, 1e6),
            *((f"--guardrail {one}", margin, 10.0) for one, margin in self.guardrails.items()),
        )
        for where, number, high in numbers:
            if not (isfinite(number) and 0.0 < number < high):
                allowed = (f"above 0 and below {high:g}",)
                raise InvalidInput(f"{number:g} is out of range", where=where, allowed=allowed)
        if self.min_samples < LEAST_SAMPLES:
            what = f"{self.min_samples} is too few"
            raise InvalidInput(what, where="--min-samples", allowed=(f"{LEAST_SAMPLES} or more",))

    @property
    def margins(self) -> dict[str, float]:
        """By how much the candidate may be worse, in all but the metric that decides."""
        return {name: margin for name, margin in {**MARGINS, **self.guardrails}.items() if name != self.metric}

    @property
    def needed(self) -> Samples:
        """Results that each arm needs."""
        return samples_needed(self.mde, self.spread, share=self.share, alpha=self.alpha)

    @property
    def needed_at_one_look(self) -> Samples:
        """As `needed`, if somebody looked once, at the end."""
        return samples_needed(self.mde, self.spread, share=self.share, alpha=self.alpha, peeking=False)

    def experiment(self, policy: Policy, in_force: Policy, *, salt: str, now: datetime) -> Experiment:
        """The experiment; `policy` is the candidate's. Raises InvalidInput."""
        self.check()
        if policy.version == in_force.version:
            raise InvalidInput("the candidate is the policy in force: there is nothing to try", where="--candidate")
        return Experiment(
            name=self.name,
            mode=Mode(self.mode),
            share=self.share,
            metric=self.metric,
            mde=self.mde,
            alpha=self.alpha,
            horizon=max(self.needed.total, 2 * self.min_samples),
            min_samples=self.min_samples,
            margins=self.margins,
            required=tuple(name for name in self.guardrails if name != self.metric),
            by=self.by,
            salt=salt,
            candidate=self.candidate,
            candidate_version=policy.version,
            control_version=in_force.version,
            started_at=now,
        )
