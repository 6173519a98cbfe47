"""What the live feed says of what a router does: one event for each, with no text of any prompt."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple

from crew_moe.domain.decision import Decision
from crew_moe.domain.feed import EVERYONE, OPERATORS, FeedEvent, FeedKind, owner_of
from crew_moe.domain.happening import Attempted, BatchDecided, Decided, Happening, Noted, Reported
from crew_moe.domain.outcome import Outcome
from crew_moe.domain.scope import tenant_of
from crew_moe.ports import Feed

MAX_REMEMBERED: Final = 10_000
MAX_EXPERTS_SHOWN: Final = 50


class Audience(Enum):
    """Whose business an event of the log is."""

    EVERYONE = "everyone"
    OPERATORS = "operators"
    OF_THE_DECISION = "of the decision"
    OF_THE_SCOPE = "of the scope"


class Notice(NamedTuple):
    """How an event of the log appears in the feed: what is not named in `fields` is not shown."""

    kind: FeedKind
    audience: Audience
    fields: tuple[str, ...] = ()


_APPROVAL: Final = Notice(FeedKind.GATE, Audience.OF_THE_DECISION, ("decision_id", "expert_id", "approval_id"))
_STATE: Final = Notice(FeedKind.STATE, Audience.OPERATORS, ("error",))
_BREAKER: Final = Notice(FeedKind.BREAKER, Audience.EVERYONE, ("key", "until", "failures"))
_ROOM: Final = ("scope", "used", "limit_usd", "window", "ends_at")

NOTICES: Final[Mapping[str, Notice]] = {
    "approval_answer_refused": Notice(FeedKind.GATE, Audience.OPERATORS, ("approval_id", "by", "outcome")),
    "approval_answered": _APPROVAL,
    "approval_asked": _APPROVAL,
    "approval_used": _APPROVAL,
    "approver_failed": Notice(FeedKind.GATE, Audience.OPERATORS, ("approval_id", "approver", "error")),
    "budget_burn_rate": Notice(FeedKind.BUDGET, Audience.OF_THE_SCOPE, _ROOM),
    "budget_overrun": Notice(FeedKind.BUDGET, Audience.OF_THE_SCOPE, ("scopes", "overrun_usd")),
    "budget_raised": Notice(FeedKind.BUDGET, Audience.OF_THE_SCOPE, ("scope", "by_usd", "limit_usd")),
    "budget_soft_limit": Notice(FeedKind.BUDGET, Audience.OF_THE_SCOPE, _ROOM),
    "call_held": Notice(
        FeedKind.GATE, Audience.OF_THE_DECISION, ("decision_id", "task_type", "to_expert", "approval_id", "reason")
    ),
    "charge_not_written": Notice(FeedKind.BUDGET, Audience.OPERATORS, ("reservation", "model", "error")),
    "circuit_closed": _BREAKER,
    "circuit_half_open": _BREAKER,
    "circuit_open": _BREAKER,
    "cost_not_charged": Notice(FeedKind.BUDGET, Audience.OF_THE_DECISION, ("decision_id", "cost_usd")),
    "expert_switched": Notice(
        FeedKind.SWITCH, Audience.OF_THE_DECISION, ("decision_id", "task_type", "from_expert", "to_expert", "error")
    ),
    "gate_allowed": Notice(FeedKind.GATE, Audience.OF_THE_DECISION, ("decision_id", "expert_id")),
    "gate_verdict": Notice(
        FeedKind.GATE, Audience.OF_THE_DECISION, ("decision_id", "expert_id", "ruling", "check", "reason", "task")
    ),
    "gate_store_failed": _STATE,
    "ledger_lost": _STATE,
    "meters_lost": _STATE,
    "screening_failed": _STATE,
    "state_back": Notice(FeedKind.STATE, Audience.OPERATORS, ("lost_s",)),
    "state_failed": _STATE,
    "state_lost": _STATE,
    "text_flagged": Notice(FeedKind.GATE, Audience.OPERATORS, ("concern", "action", "score")),
    "unrouted_call": Notice(FeedKind.OTHER, Audience.OPERATORS, ("who", "model")),
}
"""Every event of the log that says something to those who look on; any other is told by its name, to operators."""

_UNKNOWN: Final = Notice(FeedKind.OTHER, Audience.OPERATORS)


class Reporter:
    """Implements telemetry.lookout.Reader: makes events of what happened and publishes them.

    `key` turns tenants into the digests that the decision log's rows have, so that replicas with one key agree.
    """

    def __init__(self, feed: Feed, *, key: bytes = b"") -> None:
        self._feed = feed
        self._tenants: dict[str | None, str] = {}
        self.know(key)
        self._owners: OrderedDict[str, str] = OrderedDict()

    def know(self, key: bytes) -> None:
        """From now on tenants are told apart by this key."""
        self._key = key
        self._tenants.clear()

    def read(self, happenings: Sequence[Happening]) -> None:
        told = [event for happening in happenings for event in _TOLD[type(happening)](self, happening)]
        self._feed.publish(told)

    def _decided(self, happening: Decided) -> Iterator[FeedEvent]:
        owner = self._owner(happening.tenant)
        self._remember(happening.answer.decision_id, owner)
        yield FeedEvent(FeedKind.DECISION, owner, partial(_decision, happening))

    def _batch_decided(self, happening: BatchDecided) -> Iterator[FeedEvent]:
        """One event for each tenant in the batch."""
        tenants = [happening.tenant or request.tenant for request in happening.requests]
        by_tenant: dict[str | None, Counter[str | None]] = {}
        for (tenant, expert_id), count in Counter(zip(tenants, happening.answers.expert_ids, strict=True)).items():
            by_tenant.setdefault(tenant, Counter())[expert_id] += count
        for tenant, counts in by_tenant.items():
            yield FeedEvent(FeedKind.BATCH, self._owner(tenant), _batch(happening, counts))

    def _attempted(self, happening: Attempted) -> Iterator[FeedEvent]:
        row = happening.attempt.as_dict()
        del row["detail"]  # it may quote what a provider says
        body = {"at": row.pop("started_at"), "decision_id": happening.decision_id, "task_type": happening.task_type}
        yield FeedEvent(FeedKind.ATTEMPT, self._owner(happening.tenant), {**body, **row})

    def _reported(self, happening: Reported) -> Iterator[FeedEvent]:
        report = happening.report
        kind = FeedKind.OUTCOME if isinstance(report, Outcome) else FeedKind.FEEDBACK
        told = report.model_dump(mode="json", exclude_none=True, exclude={"source"})
        body = {"at": happening.at.isoformat(), "task_type": happening.task_type, **told}
        yield FeedEvent(kind, happening.commitment or OPERATORS, body)

    def _noted(self, happening: Noted) -> Iterator[FeedEvent]:
        notice, fields = NOTICES.get(happening.event, _UNKNOWN), happening.fields
        body = {name: _plain(fields[name]) for name in notice.fields if name in fields}
        owner = _AUDIENCES[notice.audience](self, fields)
        yield FeedEvent(notice.kind, owner, {"at": happening.at.isoformat(), "event": happening.event, **body})

    def _owner(self, tenant: str | None) -> str:
        """As `owner_of`, which takes long enough to be remembered."""
        owner = self._tenants.get(tenant)
        if owner is None:
            if len(self._tenants) >= MAX_REMEMBERED:
                self._tenants.clear()
            owner = self._tenants[tenant] = owner_of(tenant, self._key)
        return owner

    def _remember(self, decision_id: str, owner: str) -> None:
        """Whose decision it is, for the events of the log that name no more than it."""
        self._owners[decision_id] = owner
        if len(self._owners) > MAX_REMEMBERED:
            self._owners.popitem(last=False)

    def _of_the_decision(self, fields: Mapping[str, Any]) -> str:
        return self._owners.get(str(fields.get("decision_id")), OPERATORS)

    def _of_the_scope(self, fields: Mapping[str, Any]) -> str:
        scopes = fields.get("scopes") or (fields.get("scope", ""),)
        return self._owner(tenant_of(scopes))


_TOLD: Final[Mapping[type, Callable[[Reporter, Any], Iterable[FeedEvent]]]] = {
    Decided: Reporter._decided,
    BatchDecided: Reporter._batch_decided,
    Attempted: Reporter._attempted,
    Reported: Reporter._reported,
    Noted: Reporter._noted,
}
_AUDIENCES: Final[Mapping[Audience, Callable[[Reporter, Mapping[str, Any]], str]]] = {
    Audience.EVERYONE: lambda _, __: EVERYONE,
    Audience.OPERATORS: lambda _, __: OPERATORS,
    Audience.OF_THE_DECISION: Reporter._of_the_decision,
    Audience.OF_THE_SCOPE: Reporter._of_the_scope,
}


def _decision(happening: Decided) -> dict[str, Any]:
    answer = happening.answer
    chosen = _chosen(answer) if isinstance(answer, Decision) else {"selected_services": [], "binding": answer.binding}
    return {
        "at": answer.created_at.isoformat(),
        "decision_id": answer.decision_id,
        "ok": answer.ok,
        "routing_strategy": answer.strategy,
        "task_type": answer.features.task_type.value,
        "latency_ms": round(happening.took_ms, 4),
        **chosen,
    }


def _batch(happening: BatchDecided, counts: Counter[str | None]) -> dict[str, Any]:
    refused = counts.pop(None, 0)
    most = dict(counts.most_common(MAX_EXPERTS_SHOWN))
    return {
        "at": happening.at.isoformat(),
        "batch_id": happening.batch_id,
        "decisions": refused + counts.total(),
        "infeasible": refused,
        "selected_services": list(most),
        "counts": most,
        "routing_strategy": happening.strategy,
        "latency_ms": round(happening.took_ms, 4),
    }


def _chosen(answer: Decision) -> dict[str, Any]:
    """Seed 004's `selected_services` beside our own names: the chosen expert, or a group's."""
    group = answer.group
    return {
        "selected_services": [answer.expert_id] if group is None else list(group.experts),
        "expert_id": answer.expert_id,
        "score": answer.score,
        "propensity": answer.propensity,
    }


def _plain(value: Any) -> Any:
    """JSON-ready."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    return [str(one) for one in value] if isinstance(value, tuple) else str(value)
