"""Pins as a store keeps them: one per expert and scope, the newest first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from crew_moe.domain.snapshot import Pin

Scope = tuple[str, str | None, str | None, str | None]


def scope(pin: Pin) -> Scope:
    """(expert id, task type, task, tenant): a pin of the same scope replaces the one before it."""
    return pin.expert_id, pin.task_type, pin.task, pin.tenant


def in_force(pin: Pin, now: datetime) -> bool:
    """Whether the pin has not expired."""
    return pin.expires_at is None or now < pin.expires_at


def covers(wanted: tuple[str | None, ...], found: Scope) -> bool:
    """Whether `found` equals all fields of `wanted` that are given (None: any)."""
    return all(want is None or want == have for want, have in zip(wanted, found, strict=True))


def newest_first(pins: Iterable[Pin]) -> tuple[Pin, ...]:
    """Pins by age; those of one instant by scope, so that every store gives the same order."""
    return tuple(sorted(pins, key=lambda pin: (pin.created_at, *(part or "" for part in scope(pin))), reverse=True))
