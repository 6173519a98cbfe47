"""What a crew's calls were, cost and why: the report of an attached crew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from crewai import Crew
from crewai.events.event_bus import crewai_event_bus

from crew_moe.crew.journal import CallRecord, Switch, UnroutedCall
from crew_moe.crew.routed_crew import dispatcher_of
from crew_moe.crew.seat import SeatKind
from crew_moe.domain.outcome import Attempt
from crew_moe.domain.usage import Usage

MAIN_SEATS = (SeatKind.AGENT, SeatKind.MANAGER)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One execution of one task, delegated and guardrail calls included. `expert_id` gave its last answer; `redacted`
    values went out as placeholders.
    """

    task: str
    expert_id: str | None
    tier: str | None
    attempts: tuple[Attempt, ...]
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    latency_ms: float
    rationale: str
    decision_id: str | None
    switches: tuple[Switch, ...]
    redacted: int
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        return {
            **_plain(self),
            "attempts": [attempt.as_dict() for attempt in self.attempts],
            "switches": [switch.as_dict() for switch in self.switches],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatRow:
    """The calls of one seat outside of tasks (memory, planning, chat, a direct question to an agent)."""

    seat: str
    calls: int
    failed: int
    experts: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    latency_ms: float
    switches: tuple[Switch, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**_plain(self), "experts": list(self.experts), "switches": [row.as_dict() for row in self.switches]}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewReport:
    """All rows since the crew was attached. `ungated` names what the router can't see, `unrouted` what passed it by.

    Totals count routed calls; `fallbacks` is how often an expert was left because it had failed.
    """

    tasks: tuple[TaskRow, ...]
    seats: tuple[SeatRow, ...]
    calls: int
    fallbacks: int
    cost_usd: Decimal
    ungated: tuple[str, ...]
    unrouted: tuple[UnroutedCall, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; money as strings."""
        return {
            "tasks": [row.as_dict() for row in self.tasks],
            "seats": [row.as_dict() for row in self.seats],
            "totals": {"cost_usd": str(self.cost_usd), "fallbacks": self.fallbacks, "calls": self.calls},
            "ungated": list(self.ungated),
            "unrouted": [call.as_dict() for call in self.unrouted],
        }


def report(crew: Crew) -> CrewReport:
    """The report of an attached crew and all its copies; without rows for a crew that was never attached."""
    dispatcher = dispatcher_of(crew)
    if dispatcher is None:
        nothing = ("the crew is not routed",)
        return CrewReport(tasks=(), seats=(), calls=0, fallbacks=0, cost_usd=Decimal(0), ungated=nothing, unrouted=())
    crewai_event_bus.flush()
    calls, unrouted = dispatcher.journal.snapshot()
    return CrewReport(
        tasks=tuple(_task_row(group) for group in _grouped(calls, in_task=True)),
        seats=tuple(_seat_row(group) for group in _by_seat(calls)),
        calls=dispatcher.journal.total,
        fallbacks=dispatcher.journal.fallbacks,
        cost_usd=dispatcher.journal.cost_usd,
        ungated=tuple(_embedders(crew)),
        unrouted=unrouted,
    )


def _grouped(calls: Sequence[CallRecord], *, in_task: bool) -> Iterable[Sequence[CallRecord]]:
    chosen = sorted((call for call in calls if call.in_task is in_task), key=lambda call: call.run)
    return (list(group) for _, group in groupby(chosen, key=lambda call: call.run))


def _by_seat(calls: Sequence[CallRecord]) -> Iterable[Sequence[CallRecord]]:
    chosen = sorted((call for call in calls if not call.in_task), key=lambda call: call.seat)
    return (list(group) for _, group in groupby(chosen, key=lambda call: call.seat))


def _task_row(calls: Sequence[CallRecord]) -> TaskRow:
    main = [call for call in calls if call.kind in MAIN_SEATS] or calls
    # The seat that answered last is the one whose answer became the task's: coworkers and guardrails come before it.
    last = main[-1]
    usage = _usage(calls)
    attempts = tuple(attempt for call in calls for attempt in call.attempts)
    return TaskRow(
        task=last.label,
        expert_id=last.expert_id,
        tier=last.tier,
        attempts=attempts,
        calls=len(calls),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=_cost(calls),
        latency_ms=sum(call.latency_ms for call in calls),
        rationale=last.rationale,
        decision_id=last.decision_id,
        switches=_switches(calls),
        redacted=max(call.redacted for call in calls),
        error=last.error,
    )


def _seat_row(calls: Sequence[CallRecord]) -> SeatRow:
    usage = _usage(calls)
    return SeatRow(
        seat=calls[0].seat,
        calls=len(calls),
        failed=sum(call.expert_id is None for call in calls),
        experts=tuple(dict.fromkeys(call.expert_id for call in calls if call.expert_id is not None)),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=_cost(calls),
        latency_ms=sum(call.latency_ms for call in calls),
        switches=_switches(calls),
    )


def _usage(calls: Iterable[CallRecord]) -> Usage:
    return sum((call.usage for call in calls), Usage())


def _cost(calls: Iterable[CallRecord]) -> Decimal:
    return sum((call.cost_usd for call in calls), Decimal(0))


def _switches(calls: Iterable[CallRecord]) -> tuple[Switch, ...]:
    return tuple(switch for call in calls for switch in call.switches)


def _plain(row: TaskRow | SeatRow) -> dict[str, Any]:
    return {**asdict(row), "cost_usd": str(row.cost_usd), "latency_ms": round(row.latency_ms, 3)}


def _embedders(crew: Crew) -> Iterable[str]:
    """Embedding calls: they go to another kind of model, past the router."""
    if crew._memory is not None:
        yield "embedder of the crew's memory"
    if crew.knowledge is not None:
        yield "embedder of the crew's knowledge"
    for agent in crew.agents:
        if getattr(agent, "knowledge", None) is not None:
            yield f"embedder of {agent.role.strip()}'s knowledge"
