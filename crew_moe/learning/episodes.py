"""Episodes: what the decision log tells of each decision, joined: the choice, every call of an expert, what came of it.

Pure: rows come in as the log gives them, in any order. What is no choice among experts (calls shared out among
registered services) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import fmean
from typing import Any, Final

from crew_moe.domain.outcome import ErrorClass
from crew_moe.learning.rewards import BEST_RATING, OUTCOMES, WORST_RATING
from crew_moe.routing.batch_record import row_in_batch

Row = Mapping[str, Any]

PASSED_OVER: Final = frozenset(
    {ErrorClass.CIRCUIT_OPEN, ErrorClass.DENIED, ErrorClass.HELD, ErrorClass.NO_ROOM, ErrorClass.OVER_BUDGET}
)
"""Why an expert that was in turn was not called: no work was done."""
UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a row raises that lacks something, or holds something else in its place."""
BATCH: Final = "batch"
DECISION: Final = "decision"
CALLS: Final = ("attempt", "outcome")
FEEDBACK: Final = "feedback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an expert. `unsettled_usd` is what a failed one may cost at most, as long as nobody knows."""

    expert_id: str
    ok: bool
    cost_usd: float = 0.0
    unsettled_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One decision and what came of it.

    `expert_id` is who was chosen; None: nobody could serve, because of `binding`. `tiers` are those of all who passed
    the rules. `predicted` is what the quality model `model` said of each expert, for a text that was `familiar` to
    it; `quality` is what was observed of the answer. Qualities are in [0, 1].
    """

    decision_id: str
    at: datetime
    expert_id: str | None = None
    binding: str = ""
    grouped: bool = False
    tiers: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    familiar: bool = True
    predicted: Mapping[str, float] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    quality: float | None = None

    @property
    def served_by(self) -> str | None:
        """Who answered; who was chosen, where nobody told of any call."""
        if not self.calls:
            return self.expert_id
        return next((call.expert_id for call in reversed(self.calls) if call.ok), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episodes:
    """All that a log holds, oldest first; `unread` counts the rows that say too little."""

    found: tuple[Episode, ...]
    unread: int = 0


def joined(rows: Iterable[Row]) -> Episodes:
    """Bring together what belongs to one decision."""
    gathered = _Gathered()
    for row in rows:
        try:
            gathered.take(row)
        except UNREADABLE:
            gathered.unread += 1
    return gathered.whole()


class _Gathered:
    """What was read so far, by decision id."""

    def __init__(self) -> None:
        self.unread = 0
        self._heads: dict[str, Episode] = {}
        self._calls: dict[str, dict[int, Call]] = {}
        self._judged: dict[str, list[float]] = {}

    def take(self, row: Row) -> None:
        """One row. Raises one of UNREADABLE for one that says too little."""
        kind = row.get("kind")
        if kind in CALLS and row.get("error") not in PASSED_OVER:
            self._calls.setdefault(row["decision_id"], {})[_number(row)] = _call(row)
        if kind in (*CALLS, FEEDBACK) and (quality := observed_quality(row)) is not None:
            self._judged.setdefault(row["decision_id"], []).append(quality)
        for decision in _decisions(row):
            head = _head(decision)
            self._heads[head.decision_id] = head

    def whole(self) -> Episodes:
        found = (self._episode(name, head) for name, head in self._heads.items())
        return Episodes(found=tuple(sorted(found, key=lambda one: one.at)), unread=self.unread)

    def _episode(self, name: str, head: Episode) -> Episode:
        calls, judged = self._calls.get(name, {}), self._judged.get(name, [])
        in_order = tuple(call for _, call in sorted(calls.items()))
        return replace(head, calls=in_order, quality=fmean(judged) if judged else None)


def observed_quality(row: Row) -> float | None:
    """What a row of an outcome or of feedback says of the answer's quality: the figure itself, else the rating, else
    the word for how it went.
    """
    if (quality := row.get("quality")) is not None:
        return float(quality)
    if (rating := row.get("rating")) is not None:
        return (float(rating) - WORST_RATING) / (BEST_RATING - WORST_RATING)
    return OUTCOMES.get(str(row.get("outcome")))


def _decisions(row: Row) -> Iterator[Row]:
    if row.get("kind") == BATCH:
        found = (row_in_batch(row, str(number)) for number in range(len(row["lane"])))
        yield from (one for one in found if one is not None)
    elif row.get("kind") == DECISION and "shares" not in row:
        yield row


def _head(row: Row) -> Episode:
    """The decision itself; raises one of UNREADABLE where the row does not say when, what and whether."""
    roster, insight, ok = row.get("roster") or {}, row.get("insight") or {}, bool(row["ok"])
    return Episode(
        decision_id=str(row["decision_id"]),
        at=datetime.fromisoformat(row["created_at"]).astimezone(UTC),
        expert_id=str(row["expert_id"]) if ok else None,
        binding="" if ok else str(row.get("binding", "")),
        grouped=row.get("group") is not None,
        tiers=dict(zip(roster.get("ids", ()), roster.get("tiers", ()), strict=False)),
        model=str(insight.get("model", "")),
        familiar=bool(insight.get("familiar", True)),
        predicted={str(name): float(value) for name, value in insight.get("quality", {}).items()},
    )


def _number(row: Row) -> int:
    return int(row.get("number") or row.get("attempt") or 1)


def _call(row: Row) -> Call:
    return Call(
        expert_id=str(row["expert_id"]),
        ok=bool(row["success"]),
        cost_usd=float(row.get("cost_usd") or 0.0),
        unsettled_usd=float(row.get("unsettled_usd") or 0.0),
    )
