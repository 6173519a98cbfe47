"""What a router does, as those who watch it are told: values that are made in a microsecond and read later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.outcome import Attempt, Feedback, Outcome
from crew_moe.domain.request import RoutingRequest


class Answers(Protocol):
    """The answers of a batch; `expert_ids` has None where nobody may serve."""

    @property
    def expert_ids(self) -> Sequence[str | None]: ...


class Decided(NamedTuple):
    """One request was decided in `took_ms`."""

    answer: Decision | Infeasible
    tenant: str | None
    took_ms: float


class BatchDecided(NamedTuple):
    """Many requests were decided together; `strategy` is the policy's, for those that named none; `tenant` is that of
    all where somebody was authenticated, else each request's own.
    """

    batch_id: str
    requests: Sequence[RoutingRequest]
    answers: Answers
    strategy: str
    at: datetime
    took_ms: float
    tenant: str | None = None


class Attempted(NamedTuple):
    """One expert was tried, or passed over, for a decision."""

    decision_id: str
    task_type: str
    tenant: str | None
    attempt: Attempt


class Reported(NamedTuple):
    """Somebody told what came of a decision. `commitment` stands for its tenant, as it does in the decision's row."""

    report: Outcome | Feedback
    task_type: str
    commitment: str | None
    at: datetime


class Noted(NamedTuple):
    """An event went to the log."""

    event: str
    fields: Mapping[str, Any]
    at: datetime


Happening = Decided | BatchDecided | Attempted | Reported | Noted
