"""Manual overrides: experts that people have pinned to a task type, a task or a tenant (seed 000)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from crew_moe.domain.registry import Registry
from crew_moe.domain.snapshot import STRATEGY_MARK, Pin
from crew_moe.domain.task import TaskType
from crew_moe.errors import InvalidRequest
from crew_moe.ports import Clock, StateStore
from crew_moe.strategies import STRATEGIES


class Overrides:
    """Sets and removes pins; `changed` is called after each, so that the next decision sees it."""

    def __init__(
        self, *, registry: Callable[[], Registry], state: StateStore, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self._registry = registry
        self._state = state
        self._clock = clock
        self._changed = changed

    def pin(
        self,
        expert_id: str,
        *,
        task_type: str | None,
        task: str | None,
        tenant: str | None,
        minutes: float | None,
        reason: str,
        by: str,
    ) -> Pin:
        return self._put(
            self._registry()[expert_id].expert_id,
            task_type=task_type,
            task=task,
            tenant=tenant,
            minutes=minutes,
            reason=reason,
            by=by,
        )

    def rank_by(
        self, strategy: str, *, task_type: str | None, tenant: str | None, minutes: float | None, reason: str, by: str
    ) -> Pin:
        """Put a strategy in force for matching requests that name none themselves. Raises InvalidRequest."""
        if strategy not in STRATEGIES:
            raise InvalidRequest(
                f"unknown strategy '{strategy[:60]}'", where="strategy", value=strategy, allowed=sorted(STRATEGIES)
            )
        return self._put(
            f"{STRATEGY_MARK}{strategy}",
            task_type=task_type,
            task=None,
            tenant=tenant,
            minutes=minutes,
            reason=reason,
            by=by,
        )

    def _put(
        self,
        name: str,
        *,
        task_type: str | None,
        task: str | None,
        tenant: str | None,
        minutes: float | None,
        reason: str,
        by: str,
    ) -> Pin:
        now = self._clock.now()
        pin = Pin(
            expert_id=name,
            task_type=None if task_type is None else _known_task(task_type),
            task=task,
            tenant=tenant,
            reason=reason,
            by=by,
            created_at=now,
            expires_at=None if minutes is None else now + timedelta(minutes=minutes),
        )
        self._state.pin(pin)
        self._changed()
        return pin

    def unpin(self, *, expert_id: str | None, task_type: str | None, task: str | None, tenant: str | None) -> int:
        removed = self._state.unpin(expert_id=expert_id, task_type=task_type, task=task, tenant=tenant)
        self._changed()
        return removed


def _known_task(word: str) -> TaskType:
    if word not in set(TaskType):
        raise InvalidRequest(f"unknown task type '{word}'", where="task_type", value=word, allowed=list(TaskType))
    return TaskType(word)
