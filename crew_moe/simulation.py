"""A candidate policy held against what was decided: every logged decision made again, and what would change.

It tells who would have been chosen, and at which predicted cost. It tells nothing about how well they would have
answered, nor what would have become of the calls: screening, the gate and budgets are left as they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from crew_moe.domain.access import Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.money import to_usd
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.domain.word import Word
from crew_moe.errors import InvalidInput
from crew_moe.execution.remedying import TURNED_AWAY
from crew_moe.gating.past import Names, PastAccess, Unknowable
from crew_moe.ports import DecisionLog
from crew_moe.routing.batch_record import row_in_batch
from crew_moe.routing.redeciding import Bench, chances_of, cost_nano, demands_of, features_of
from crew_moe.strategies import STRATEGIES
from crew_moe.strategies.bandits import BANDITS

MAX_DECISIONS: Final = 1_000
DEFAULT_DECISIONS: Final = 200
MAX_ROWS: Final = 5_000  # of the log, in which attempts, outcomes and judgements stand too, and other tenants' rows
FIRST_LOOK: Final = 16  # rows; one of a batch may hold thousands of decisions
EXAMPLES: Final = 5
LEFT_ALONE: Final = ("budgets", "screening", "gate", "breaker", "limits", "tiers")
"""Parts of a policy that act before or after a decision, or on who is tried next."""

Row = Mapping[str, Any]


class Reason(Word):
    """Why a logged decision can't be made again."""

    TOO_OLD = "too_old"  # its row was written before rows held what this needs
    BATCH = "batch"  # it was made in columns, which hold sizes alone
    SERVICE_TYPE = "service_type"  # the choice among services of a type goes by room, not by policy
    SCREENED = "screened"  # its text was stopped, and nobody was judged
    CATALOGUE = "catalogue"  # there were other experts, or other figures of them
    EXPERIENCE = "experience"  # the candidate weighs experience another way, and the row holds it weighed
    WHO_ASKED = "who_asked"  # a rule looks at who asked, and the row does not tell
    NAMES = "names"  # it asks for a profile or a strategy that the candidate does not have
    CHANCE = "chance"  # the candidate's strategy leaves its pick to chance, and does not tell how
    NOT_PREDICTED = "not_predicted"  # the candidate's strategy goes by predictions, and the row holds none


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One decision that would be another. None stands for nobody; costs are those that the candidate predicts."""

    decision_id: str
    task_type: str
    before: str | None
    after: str | None
    before_usd: Decimal | None
    after_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """How many decisions would go from one expert to another; the same one twice are those that stay."""

    before: str | None
    after: str | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDecidable:
    """How many decisions could not be made again for one reason, and the newest of them."""

    reason: Reason
    count: int
    decision_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTrial:
    """What would change. Costs add up the decisions that somebody serves both before and after, as the candidate
    predicts them; `left_alone` are parts in which the candidate differs and that were not tried.
    """

    candidate: str
    current: str
    logged_under: Mapping[str, int]
    seen: int
    decided: int
    changed: int
    moves: tuple[Move, ...]
    infeasible_before: int
    infeasible_after: int
    expected_usd_before: Decimal
    expected_usd_after: Decimal
    examples: tuple[Change, ...]
    not_decidable: tuple[NotDecidable, ...]
    left_alone: tuple[str, ...]

    @property
    def share_changed(self) -> float:
        return self.changed / self.decided if self.decided else 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; money as strings."""
        return {
            "candidate": self.candidate,
            "current": self.current,
            "logged_under": dict(self.logged_under),
            "seen": self.seen,
            "decided": self.decided,
            "changed": self.changed,
            "share_changed": self.share_changed,
            "moves": [{"before": one.before, "after": one.after, "count": one.count} for one in self.moves],
            "infeasible_before": self.infeasible_before,
            "infeasible_after": self.infeasible_after,
            "expected_usd_before": f"{self.expected_usd_before:f}",
            "expected_usd_after": f"{self.expected_usd_after:f}",
            "examples": [_change_dict(one) for one in self.examples],
            "not_decidable": [
                {"reason": one.reason.value, "count": one.count, "decision_ids": list(one.decision_ids)}
                for one in self.not_decidable
            ],
            "left_alone": list(self.left_alone),
        }


def newest(
    log: DecisionLog, limit: int, *, task_type: str | None = None, sees: Callable[[Row], bool] = lambda _: True
) -> tuple[Row, ...]:
    """The newest decisions of a log, newest first, those of batches among them; found in its newest MAX_ROWS rows."""
    log.flush()
    count = min(limit, FIRST_LOOK)
    while True:
        rows = log.tail(count)
        told = (one for row in rows if sees(row) for one in _decisions(row) if task_type in (None, one["task_type"]))
        found = tuple(islice(told, limit))
        if len(found) >= limit or len(rows) < count or count >= MAX_ROWS:
            return found
        count = min(4 * count, MAX_ROWS)


def simulate(
    rows: Sequence[Row], candidate: Policy, *, current: Policy, registry: Registry, names: Names
) -> PolicyTrial:
    """Make each of these decisions again. Raises ConfigError and MissingExtra for the candidate's Cedar policies."""
    court = Court(candidate, current, registry, names)
    made: list[tuple[Row, Decision | Infeasible]] = []
    failed: dict[Reason, list[str]] = {}
    for row in rows:
        found = court.again(row)
        if isinstance(found, Reason):
            failed.setdefault(found, []).append(row["decision_id"])
        else:
            made.append((row, found))
    changes = [_change(row, found) for row, found in made]
    served = [one for one in changes if one.before_usd is not None and one.after_usd is not None]
    changed = [one for one in changes if one.before != one.after]
    moves = Counter((one.before, one.after) for one in changes)
    return PolicyTrial(
        candidate=candidate.version,
        current=current.version,
        logged_under=Counter(row["policy_version"] for row in rows),
        seen=len(rows),
        decided=len(made),
        changed=len(changed),
        moves=tuple(Move(before=pair[0], after=pair[1], count=count) for pair, count in moves.most_common()),
        infeasible_before=sum(one.before is None for one in changes),
        infeasible_after=sum(one.after is None for one in changes),
        expected_usd_before=sum((one.before_usd or Decimal(0) for one in served), Decimal(0)),
        expected_usd_after=sum((one.after_usd or Decimal(0) for one in served), Decimal(0)),
        examples=tuple(changed[:EXAMPLES]),
        not_decidable=tuple(
            NotDecidable(reason=reason, count=len(ids), decision_ids=tuple(ids[:EXAMPLES]))
            for reason, ids in failed.items()
        ),
        left_alone=tuple(part for part in LEFT_ALONE if getattr(candidate, part) != getattr(current, part)),
    )


class Court:
    """Where decisions come again. Raises ConfigError and MissingExtra for the candidate's Cedar policies."""

    def __init__(self, candidate: Policy, current: Policy, registry: Registry, names: Names) -> None:
        self._bench = Bench.of(registry, candidate)
        self._access = PastAccess(candidate, registry, names)
        self._names = names
        rules = (candidate.access, candidate.cedar) == (current.access, current.cedar)
        self._same_rules_under = current.version if rules else None
        told_apart = (tenant for rule in candidate.rules for tenant in rule.when.tenants)
        self._tenants = frozenset(told_apart) | frozenset(self._bench.columns.owned)

    def again(self, row: Row) -> Decision | Infeasible | Reason:
        """The decision under the candidate, or why there is none."""
        reason = _missing(row) or self._unlike(row)
        if reason is not None:
            return reason
        try:
            tenant = self._names.among(row, "tenant", self._tenants)
            return self._bench.decide(row, self._demands(row), tenant)
        except Unknowable:
            return Reason.WHO_ASKED
        except InvalidInput:
            return Reason.NAMES

    def chances(self, row: Row) -> Mapping[str, float] | Reason:
        """With which probability the candidate takes each expert, by id; nothing where it serves nobody."""
        found = self.again(row)
        if isinstance(found, Reason):
            return found
        if isinstance(found, Infeasible):
            return {}
        if row.get("insight") is None and _goes_by_predictions(found.strategy):
            return Reason.NOT_PREDICTED
        tenant = self._names.among(row, "tenant", self._tenants)
        return chances_of(found, tenant) or Reason.CHANCE

    def _unlike(self, row: Row) -> Reason | None:
        if row["registry_digest"] != self._bench.columns.digest:
            return Reason.CATALOGUE
        return None if self._bench.weighs_alike(row) else Reason.EXPERIENCE

    def _demands(self, row: Row) -> Demands:
        """What screening and the gate demanded, and what the candidate's rules forbid."""
        before = demands_of(row)
        if row["policy_version"] == self._same_rules_under:
            return before
        kept = frozenset((expert_id, rule) for expert_id, rule in before.forbidden if rule in TURNED_AWAY)
        features = features_of(row)
        residency = row["asked"].get("residency")
        ruled = self._access.demands(row, risk=features.risk, residency=residency, task_type=features.task_type)
        return before._replace(forbidden=kept).joined(ruled)


def _goes_by_predictions(strategy: str) -> bool:
    return strategy in BANDITS or getattr(STRATEGIES[strategy], "informed", False)


def _missing(row: Row) -> Reason | None:
    """Why the row by itself is not enough."""
    if "service_type" in row:
        return Reason.SERVICE_TYPE
    if "asked" in row:
        return None
    if not row.get("text_digest"):
        return Reason.BATCH
    return Reason.SCREENED if not row["ok"] and row["nearest"] is None else Reason.TOO_OLD


def _change(row: Row, found: Decision | Infeasible) -> Change:
    before = row["expert_id"] if row["ok"] else None
    served = isinstance(found, Decision)
    return Change(
        decision_id=row["decision_id"],
        task_type=row["task_type"],
        before=before,
        after=found.expert_id if isinstance(found, Decision) else None,
        before_usd=_usd(found, before) if served and before is not None else None,
        after_usd=_usd(found, found.expert_id) if isinstance(found, Decision) else None,
    )


def _usd(found: Decision | Infeasible, expert_id: str) -> Decimal | None:
    return to_usd(round(cost_nano(found, expert_id))) if isinstance(found, Decision) else None


def _change_dict(one: Change) -> dict[str, Any]:
    return {
        "decision_id": one.decision_id,
        "task_type": one.task_type,
        "before": one.before,
        "after": one.after,
        "before_usd": None if one.before_usd is None else f"{one.before_usd:f}",
        "after_usd": None if one.after_usd is None else f"{one.after_usd:f}",
    }


def _decisions(row: Row) -> Iterable[Row]:
    """The decisions that a row of the log holds, the newest first."""
    if row.get("kind") == "decision":
        yield row
    elif row.get("kind") == "batch":
        for number in reversed(range(len(row["lane"]))):
            found = row_in_batch(row, str(number))
            if found is not None:
                yield found
