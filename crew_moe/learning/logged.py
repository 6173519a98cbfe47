"""Rows of the decision log as rounds for off-policy evaluation: what was chosen, by which chances, and what came of it.

Pure: rows come in oldest first, as a log gives them. Everything that happened under a decision counts for its choice,
fallbacks too, for a choice is worth what it leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log1p
from typing import Any, Final, NamedTuple

from crew_moe.domain.money import NANO
from crew_moe.domain.word import Word
from crew_moe.learning.rewards import Facts, Rewards, facts_in
from crew_moe.routing.batch_record import row_in_batch
from crew_moe.routing.record import predicted_costs

Row = Mapping[str, Any]
Chances = Mapping[str, float]

CALLS: Final = ("attempt", "outcome")
OPINIONS: Final = ("outcome", "quality", "rating", "pr_merged", "pr_reverted")
SAFETY: Final = frozenset({"access", "residency", "local_only", "moderation"})
"""Rules of eligibility that are there for safety's sake."""


class LeftOut(Word):
    """Why a logged decision is no round, beside the reasons why it can't be made again."""

    NOBODY = "nobody"  # nobody served it then: what an expert would have made of it was never seen
    UNTOLD = "untold"  # with which chances it was made is not to be told from its row
    UNOBSERVED = "unobserved"  # no attempt, outcome or feedback says what came of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One decision of the log. `logging` and `candidate` are the chances of every expert, by id, then and under the
    candidate; what those of the candidate lack of 1 it refuses. `breach` is the chance with which the candidate would
    have taken an expert that the rules of safety had ruled out; it is no part of `candidate`. `quality` and
    `cost_usd` are what was predicted of each expert.
    """

    decision_id: str
    expert_id: str
    logging: Chances
    candidate: Chances
    breach: float
    quality: Chances
    cost_usd: Chances
    context: Mapping[str, float]
    vector: tuple[float, ...]
    cohorts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came of a decision; None was never told. `kept`: the chosen expert answered at once."""

    reward: float | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    kept: float | None = None


class Call(NamedTuple):
    """One call of an expert: what it tells of the answer, and what it took whether there was one or not."""

    facts: Facts
    cost_usd: float | None
    latency_ms: float | None

    def but(self, later: Call) -> Call:
        """This call, with what a later row tells in its place."""
        cost = self.cost_usd if later.cost_usd is None else later.cost_usd
        latency = self.latency_ms if later.latency_ms is None else later.latency_ms
        return Call(self.facts.but(later.facts), cost, latency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """The rounds of a log, and how many decisions are none, by reason."""

    rounds: tuple[tuple[Choice, Came], ...]
    left_out: Mapping[str, int]
    seen: int


@dataclass(slots=True)
class Reading:
    """Takes the rows of a log one by one. `then` gives the chances of a row as it was decided, `now` those under the
    candidate, or the word for why it can't be made again.
    """

    then: Callable[[Row], Chances]
    now: Callable[[Row], Chances | Word]
    seen: int = 0
    choices: dict[str, Choice] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    calls: dict[str, dict[int, Call]] = field(default_factory=dict)
    opinions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, row: Row) -> None:
        kind = row.get("kind")
        if kind in CALLS:
            numbered, number = self.calls.setdefault(row["decision_id"], {}), _number(row)
            call = _call(row)
            numbered[number] = numbered[number].but(call) if number in numbered else call
        elif kind == "feedback":
            told = {name: row[name] for name in OPINIONS if row.get(name) is not None}
            self.opinions.setdefault(row["decision_id"], {}).update(told)
        else:
            for decision in _decisions(row):
                self._decided(decision)

    def joined(self, rewards: Rewards) -> Logged:
        """The rounds so far."""
        rounds, left_out = [], dict(self.left_out)
        for choice in self.choices.values():
            came = self._came(choice, rewards)
            if came is None:
                _count(left_out, LeftOut.UNOBSERVED)
            else:
                rounds.append((choice, came))
        return Logged(rounds=tuple(rounds), left_out=left_out, seen=self.seen)

    def _decided(self, row: Row) -> None:
        self.seen += 1
        now = self.now(row)
        if isinstance(now, Word):
            _count(self.left_out, now)
        elif not row["ok"]:
            _count(self.left_out, LeftOut.NOBODY)
        elif then := self.then(row):
            self.choices[row["decision_id"]] = _choice(row, then, now)
        else:
            _count(self.left_out, LeftOut.UNTOLD)

    def _came(self, choice: Choice, rewards: Rewards) -> Came | None:
        """None where nobody told anything, or of another expert than the one that was chosen."""
        calls = [call for _, call in sorted(self.calls.get(choice.decision_id, {}).items())]
        opinions = self.opinions.get(choice.decision_id, {})
        if calls and calls[0].facts.expert_id != choice.expert_id:
            return None
        if not calls and not opinions:
            return None
        served = next((call.facts for call in reversed(calls) if call.facts.success), None)
        answer = served or (calls[-1].facts if calls else Facts())
        cost, latency = _sum(call.cost_usd for call in calls), _sum(call.latency_ms for call in calls)
        about = Facts(task_type=choice.cohorts["task_type"], cost_usd=cost, latency_ms=latency, **opinions)
        return Came(
            reward=rewards.of(answer.but(about)),
            cost_usd=cost,
            latency_ms=latency,
            kept=float(bool(calls[0].facts.success)) if calls else None,
        )


def _call(row: Row) -> Call:
    cost = row.get("cost_usd")
    return Call(facts_in(row, task_type=""), None if cost is None else float(cost), row.get("latency_ms"))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _choice(row: Row, then: Chances, now: Chances) -> Choice:
    unsafe = _unsafe(row)
    insight = row.get("insight") or {}
    features = row["features"]
    return Choice(
        decision_id=row["decision_id"],
        expert_id=row["expert_id"],
        logging=then,
        candidate={expert_id: chance for expert_id, chance in now.items() if expert_id not in unsafe},
        breach=sum(chance for expert_id, chance in now.items() if expert_id in unsafe),
        quality=insight.get("quality") or {},
        cost_usd={expert_id: nano / NANO for expert_id, nano in predicted_costs(row).items()},
        context={
            f"task_type {row['task_type']}": 1.0,
            f"script {features['script']}": 1.0,
            f"risk {features['risk']}": 1.0,
            "length": log1p(features["input_tokens"]) / 5.0,
            "code": float(features["code_marks"] > 0),
        },
        vector=tuple(insight.get("vector") or ()),
        cohorts={
            "task_type": row["task_type"],
            "tenant": (row.get("identity") or {}).get("tenant", ""),
            "language": features["script"],
        },
    )


def _unsafe(row: Row) -> frozenset[str]:
    """Who was ruled out for safety's sake: by access rules, screening and the gate, or by where a text may go."""
    forbidden = (row.get("demands") or {}).get("forbidden") or {}
    out = (one["expert_id"] for one in row.get("rejections", ()) if SAFETY & {one["rule"], *one["also"]})
    return frozenset((*forbidden, *out))


def _decisions(row: Row) -> Iterator[Row]:
    if row.get("kind") == "decision":
        yield row
    elif row.get("kind") == "batch":
        found = (row_in_batch(row, str(number)) for number in range(len(row["lane"])))
        yield from (one for one in found if one is not None)


def _number(row: Row) -> int:
    return int(row.get("number") or row.get("attempt") or 1)


def _count(counts: dict[str, int], reason: Word) -> None:
    counts[reason.value] = counts.get(reason.value, 0) + 1
