"""Values of the state as rows of a database and back; every float and every microsecond survives the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from crew_moe.domain.snapshot import Breaker, Circuit, Performance, Pin


def stamp(moment: datetime) -> str:
    """UTC in ISO 8601 with microseconds: of equal length, so that text compares as time does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def columns(value: Breaker | Performance | Pin) -> tuple[Any, ...]:
    """The fields in their order, as SQLite stores them."""
    found = (getattr(value, field.name) for field in fields(value))
    return tuple(stamp(item) if isinstance(item, datetime) else item for item in found)


def breaker(row: Sequence[Any]) -> Breaker:
    """A row of `breakers` after its key."""
    state, failures, ejections, until, probes = row
    return Breaker(state=Circuit(state), failures=failures, ejections=ejections, until=_moment(until), probes=probes)


def performance(row: Sequence[Any]) -> Performance:
    """A row of `performance` after its key."""
    return Performance(
        samples=row[0],
        success_rate=row[1],
        latency_ms=row[2],
        cost_usd=row[3],
        input_tokens=row[4],
        output_tokens=row[5],
        quality=row[6],
        learned=row[7],
        updated_at=datetime.fromisoformat(row[8]),
    )


def pin(row: Sequence[Any]) -> Pin:
    """A row of `pins`."""
    expert_id, task_type, task, tenant, reason, by, created_at, expires_at = row
    return Pin(
        expert_id=expert_id,
        task_type=task_type,
        task=task,
        tenant=tenant,
        reason=reason,
        by=by,
        created_at=datetime.fromisoformat(created_at),
        expires_at=_moment(expires_at),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
