"""How a gate spreads its traffic: who gets how much, how evenly, and how often it changes its mind."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from crew_moe.local_gate.gate.losses import cv_squared

KEPT: Final = 1_000  # choices
_ALONE: Final = ""  # the session of those who name none


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One choice, as much of it as diagnostics need. `probabilities` by expert, of those that could serve."""

    expert: str
    probabilities: Mapping[str, float]
    overflowed: bool = False
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDiagnostics:
    """The last `choices`. `utilisation` is each expert's share of them; `entropy` of that is 1 where all have the same,
    0 where one has everything. CV^2 (variance over squared mean) is taken of the experts' sums of probability
    (importance) and of their choices (load). `churn` is the share of choices that differ from the one before in their
    session, `overflow` the share that went to another expert for want of room.
    """

    choices: int
    utilisation: Mapping[str, float]
    entropy: float
    importance_cv2: float
    load_cv2: float
    churn: float
    overflow: float
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def diagnose(choices: Iterable[Seen], experts: Sequence[str]) -> GateDiagnostics:
    """Over these choices, oldest first, among these experts."""
    kept = list(choices)
    loads = np.array([sum(one.expert == expert for one in kept) for expert in experts], dtype=np.float64)
    importance = np.array([sum(one.probabilities.get(expert, 0.0) for one in kept) for expert in experts])
    count = max(1, len(kept))
    return GateDiagnostics(
        choices=len(kept),
        utilisation={expert: float(load) / count for expert, load in zip(experts, loads, strict=True)},
        entropy=entropy(loads / count),
        importance_cv2=cv_squared(importance)[0],
        load_cv2=cv_squared(loads)[0],
        churn=churn(kept),
        overflow=sum(one.overflowed for one in kept) / count,
        confidence=sum(one.probabilities.get(one.expert, 0.0) for one in kept) / count,
    )


def entropy(shares: Iterable[float]) -> float:
    """Of shares that sum to 1, over the highest that it could be.

    >>> entropy([0.5, 0.5]), entropy([1.0, 0.0])
    (1.0, 0.0)
    """
    given = [float(share) for share in shares]
    if len(given) < 2:
        return 1.0
    return -sum(share * math.log(share) for share in given if share > 0.0) / math.log(len(given)) + 0.0


def churn(choices: Iterable[Seen]) -> float:
    """The share of choices with another expert than the one before in their session; those without a session are one
    session together.
    """
    last: dict[str, str] = {}
    changed = compared = 0
    for one in choices:
        session = one.session or _ALONE
        compared += session in last
        changed += last.get(session, one.expert) != one.expert
        last[session] = one.expert
    return changed / compared if compared else 0.0


class Journal:
    """The last KEPT choices of a gate; safe for threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._choices: deque[Seen] = deque(maxlen=kept)
        self._lock = threading.Lock()

    def note(self, choice: Seen) -> None:
        with self._lock:
            self._choices.append(choice)

    def choices(self) -> tuple[Seen, ...]:
        """Oldest first."""
        with self._lock:
            return tuple(self._choices)
