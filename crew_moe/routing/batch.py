"""Many requests at once: the same answers as one by one, bit for bit, at a fraction of the time.

Requests that ask for the same thing share a lane, so their sizes become columns of shape (requests, 1) and every expert
of the lane is judged for all of them by one operation. What can't be done in columns (a task type to be inferred, a
strategy that looks at candidates, exploration, groups) goes through `decide` row by row. A row becomes a Decision when
it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple, overload

import numpy as np

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.insight import Insight
from crew_moe.domain.money import NANO
from crew_moe.domain.request import RoutingRequest
from crew_moe.routing.batch_record import BatchRecord, Results
from crew_moe.routing.board import Board
from crew_moe.routing.choice import is_greedy
from crew_moe.routing.columns import Bools, Floats, Ints
from crew_moe.routing.engine import NewSeed, check_names, decide
from crew_moe.routing.features import estimate_ascii, extract, mentions_high_risk
from crew_moe.routing.informed import is_informed
from crew_moe.routing.lane import Lane
from crew_moe.routing.needs import profile_of
from crew_moe.routing.redeciding import beside
from crew_moe.routing.slate import masked

INFINITY: Final = float("inf")
MAX_CELLS: Final = 1 << 18  # requests x experts judged in one piece, which bounds the memory of a batch
# What decides the lane of a request, whatever its sizes.
ALIKE: Final = itemgetter(
    "task_type",
    "requires",
    "min_quality",
    "max_latency_ms",
    "tier",
    "max_tier",
    "modality",
    "preferred_providers",
    "residency",
    "pii",
    "risk",
    "strategy",
    "profile",
    "pin",
    "fallbacks",
    "parallel",
    "task",
    "tenant",
)

Answer = Decision | Infeasible
Foresight = Callable[[RoutingRequest], Insight | None]
"""What learning predicts of a request."""


class Decisions(Sequence[Answer]):
    """Answers of one batch. `results` holds the figures; `decisions[i]` makes the Decision or Infeasible of row i."""

    def __init__(self, count: int, record: BatchRecord, remake: Callable[[int], Answer]) -> None:
        self._count = count
        self._remake = remake
        self.record = record

    @property
    def results(self) -> Results:
        return self.record.results

    @property
    def expert_ids(self) -> list[str | None]:
        """The expert of each row, None where none may serve."""
        ids = (*self.record.expert_ids, None)
        return [ids[position] for position in self.results.position.tolist()]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Answer]:
        return (self._remake(index) for index in range(self._count))

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> list[Answer]: ...
    def __getitem__(self, index: int | slice) -> Answer | list[Answer]:
        if isinstance(index, slice):
            return [self._remake(row) for row in range(*index.indices(self._count))]
        row = index + self._count if index < 0 else index
        if not 0 <= row < self._count:
            raise IndexError(f"row {index} of a batch of {self._count}")
        return self._remake(row)


def decide_batch(
    requests: Sequence[RoutingRequest],
    board: Board,
    *,
    batch_id: str,
    now: datetime,
    new_seed: NewSeed,
    demands: Demands | Sequence[Demands] = NO_DEMANDS,
    identity: Mapping[str, str] | None = None,
    raw: Sequence[RoutingRequest] | None = None,
    insight: Foresight | None = None,
) -> Decisions:
    """Answers for all requests, in order. Row i has the id `<batch_id>.<i>` and equals what `decide` gives it.

    `demands` are those of the whole batch, or one for each request; `identity` commits to whom all are made for.
    `raw` are the requests before one principal put its names into all: they have the same sizes, and cost nothing to
    read where `requests` are made as they are read. `insight` is asked once for each request that is not judged in
    columns.
    """
    demanded = [demands] * len(requests) if isinstance(demands, Demands) else demands
    seeds: dict[int, int] = {}
    insights: dict[int, Insight | None] = {}

    def remake(row: int) -> Answer:
        """Row `row` as a Decision; chance falls the same way each time, and what was predicted stays."""

        def seed() -> int:
            if row not in seeds:
                seeds[row] = new_seed()
            return seeds[row]

        if insight is not None and row not in insights:
            insights[row] = insight(requests[row])
        return decide(
            requests[row],
            board,
            decision_id=f"{batch_id}.{row}",
            now=now,
            new_seed=seed,
            demands=demanded[row],
            insight=insights.get(row),
        )

    record = BatchRecord(batch_id, board, now, len(requests), identity)
    sheet = _sheet_of(requests if raw is None else raw, None if isinstance(demands, Demands) else demands)
    for rows in sheet.alike(board.policy.tight_budget_usd):
        plain = rows[sheet.ascii[rows]] if _in_columns(requests[rows[0]], board, insight) else rows[:0]
        if len(plain):
            for lane, sizes in _lanes(sheet, plain, requests[plain[0]], board, now, demanded[plain[0]]):
                _judge(lane, sizes, record)
        for row in np.setdiff1d(rows, plain).tolist():
            record.note(row, remake(row), beside(requests[row]))
    return Decisions(len(requests), record, remake)


class _Sheet(NamedTuple):
    """What a batch asks for, as columns; each (requests,). Budgets in US$, infinite where there is none, as ceilings.

    `kind` numbers the sets of everything else that was asked for: requests of one kind differ in sizes alone.
    """

    kind: Ints
    ascii: Bools
    risky: Bools
    chars: Ints
    spaces: Ints
    extra: Ints
    ceiling: Floats
    budget: Floats

    def alike(self, tight_budget: float) -> Iterator[Ints]:
        """Rows that share their lane (but for very long inputs), in order, set by set."""
        share = self.kind * 4 + (self.budget <= tight_budget) * 2 + self.risky
        order = np.argsort(share, kind="stable")
        if len(order):
            yield from np.split(order, np.flatnonzero(np.diff(share[order])) + 1)


def _sheet_of(requests: Sequence[RoutingRequest], demands: Sequence[Demands] | None) -> _Sheet:
    """Read every request once; list comprehensions, because each step here is paid ten thousand times.

    `demands` is None where all have the same.
    """
    values = [request.__dict__ for request in requests]
    kinds: dict[Any, int] = {}
    alike: Iterable[Any] = map(ALIKE, values)
    if demands is not None:
        alike = zip(alike, demands, strict=True)
    kind = [kinds.setdefault(asked, len(kinds)) for asked in alike]
    texts = [each["text"] for each in values]
    ceilings, budgets = [each["max_output_tokens"] for each in values], [each["budget_usd"] for each in values]
    pairs = zip(texts, [each["risk"] for each in values], strict=True)
    return _Sheet(
        kind=np.array(kind, dtype=np.int64),
        ascii=np.array([text.isascii() for text in texts], dtype=np.bool_),
        risky=np.array([risk is None and mentions_high_risk(text.lower()) for text, risk in pairs], dtype=np.bool_),
        chars=np.array([len(text) for text in texts], dtype=np.int64),
        spaces=np.array([text.count(" ") for text in texts], dtype=np.int64),
        extra=np.array([each["context_tokens"] for each in values], dtype=np.int64),
        ceiling=np.array([INFINITY if ceiling is None else ceiling for ceiling in ceilings], dtype=np.float64),
        budget=np.array([INFINITY if budget is None else float(budget) for budget in budgets], dtype=np.float64),
    )


def _in_columns(request: RoutingRequest, board: Board, insight: Foresight | None) -> bool:
    """Whether requests like this one can be judged together."""
    if request.task_type is None or request.parallel or not is_greedy(request, board.policy):
        return False
    return insight is None or not is_informed(request.strategy or board.policy.strategy)


def _lanes(
    sheet: _Sheet, rows: Ints, like: RoutingRequest, board: Board, now: datetime, demands: Demands
) -> Iterator[tuple[Lane, _Sizes]]:
    """The rows' sizes by lane; very long inputs need a capability of their own, so there may be two."""
    check_names(like, board)
    policy = board.policy
    features = extract(like)
    task = policy.tasks[features.task_type]
    tokens = estimate_ascii(sheet.chars[rows], sheet.spaces[rows]) + sheet.extra[rows]
    outputs = (tokens * task.output_multiplier).astype(np.int64)
    outputs = np.clip(outputs, task.min_output_tokens, task.max_output_tokens)
    profile = profile_of(like, policy)
    own_ceiling = INFINITY if profile is None or profile.max_output_tokens is None else profile.max_output_tokens
    own_budget = INFINITY if profile is None or profile.budget_usd is None else float(profile.budget_usd)
    sizes = _Sizes(
        where=rows,
        inputs=(tokens + policy.cost.overhead_tokens).astype(np.float64),
        outputs=np.minimum(np.minimum(outputs, sheet.ceiling[rows]), own_ceiling),
        budgets=np.minimum(sheet.budget[rows], own_budget) * NANO,
    )
    threshold = policy.thresholds.long_context_tokens
    for is_long, part in ((False, tokens < threshold), (True, tokens >= threshold)):
        if part.any():
            stand_in = features._replace(input_tokens=threshold if is_long else 0)
            needs = board.needs(like, stand_in, now, demands)
            yield board.lane(needs), sizes.only(part)


class _Sizes(NamedTuple):
    """Rows of one lane, each (rows,). Budgets in nano-USD, infinite where there is none."""

    where: Ints
    inputs: Floats
    outputs: Floats
    budgets: Floats

    def only(self, part: Bools | slice) -> _Sizes:
        return _Sizes(self.where[part], self.inputs[part], self.outputs[part], self.budgets[part])


def _judge(lane: Lane, sizes: _Sizes, record: BatchRecord) -> None:
    """Fill in the results of one lane's rows, in pieces of bounded size."""
    place = record.place(lane)
    step = max(1, MAX_CELLS // max(1, len(lane.members)))
    for start in range(0, len(sizes.where), step):
        where, inputs, outputs, budgets = sizes.only(slice(start, start + step))
        record.size(where, place, inputs, outputs, budgets)
        if not len(lane.members):
            continue
        limit = budgets[:, None] if np.isfinite(budgets).any() else None
        field = lane.figures.judge(inputs[:, None], outputs[:, None], limit, float((inputs + outputs).max()))
        best = masked(field.ranking, field.fits).argmax(axis=1)
        line = np.arange(len(where))
        ok = np.ones(len(where), dtype=np.bool_) if field.fits is None else field.fits[line, best]
        record.fill(where, ok, lane.members[best], field.score[line, best], field.cost[line, best])
