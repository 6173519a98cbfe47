"""Who is dead, what is queued, what arrived: the state of a simulation, shared by its threads."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Condition
from typing import Any, Final

from crew_moe.domain.expert import Expert
from crew_moe.domain.registry import Registry
from crew_moe.domain.usage import Usage
from crew_moe.errors import InvalidInput, UnknownExpert
from crew_moe.sim.script import subjects

KEPT_REQUESTS: Final = 10_000
"""Older records are forgotten, so that a long load test does not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRequest:
    """One chat request that arrived. `fault` is what was played: None, "dead" or the error of a rule.

    `headers` have lower-case names and no credentials. `number` counts the expert's calls from 1; a call to a dead
    expert has none (0), since a dead provider sees nothing. `at` is aware UTC.
    """

    expert_id: str
    provider: str
    model: str
    messages: Sequence[Mapping[str, Any]]
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    at: datetime
    number: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """An exact answer, given once. Without `usage` the tokens are estimated like those of any other answer."""

    text: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str = "stop"
    usage: Usage | None = None

    @classmethod
    def of(
        cls, text: str, tool_calls: Sequence[Mapping[str, Any]], finish_reason: str | None, usage: Usage | None
    ) -> Queued:
        """Tool calls in OpenAI's shape or short, {"name": ..., "arguments": {...}}; the reason follows from them."""
        calls = tuple(_tool_call(index, call) for index, call in enumerate(tool_calls))
        reason = finish_reason or ("tool_calls" if calls else "stop")
        return cls(text=text, tool_calls=calls, finish_reason=reason, usage=usage)


@dataclass(slots=True)
class Switchboard:
    """Every method is atomic."""

    registry: Registry
    _dead: set[str] = field(default_factory=set)
    _calls: Counter[str] = field(default_factory=Counter)
    _queued: dict[str, deque[Queued]] = field(default_factory=dict)
    _requests: deque[SimRequest] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    _arrived: int = 0
    _lock: Condition = field(default_factory=Condition)

    def kill(self, name: str) -> str:
        """Mark a provider or an expert dead; its subject ("provider:NAME" or "expert:ID")."""
        subject = self.subject(name)
        with self._lock:
            self._dead.add(subject)
        return subject

    def revive(self, name: str) -> str:
        """Undo `kill`; what was never killed stays as it is."""
        subject = self.subject(name)
        with self._lock:
            self._dead.discard(subject)
        return subject

    def subject(self, name: str) -> str:
        """The subject of a provider or expert; raises InvalidInput with the closest match."""
        if name in self.registry.providers:
            return f"provider:{name}"
        if name in self.registry:
            return f"expert:{name}"
        allowed = (*self.registry.providers, *self.registry.by_id)
        raise InvalidInput(f"unknown provider or expert '{name}'", value=name, allowed=allowed)

    def is_dead(self, expert: Expert) -> bool:
        with self._lock:
            return not self._dead.isdisjoint(subjects(expert))

    def enqueue(self, expert_id: str, reply: Queued) -> None:
        """Queue an exact answer, to be given once."""
        if expert_id not in self.registry:
            raise UnknownExpert(expert_id, self.registry.by_id)
        with self._lock:
            self._queued.setdefault(expert_id, deque()).append(reply)

    def dequeue(self, expert_id: str) -> Queued | None:
        with self._lock:
            queued = self._queued.get(expert_id)
            return queued.popleft() if queued else None

    def count(self, expert: Expert) -> Mapping[str, int]:
        """Count a call; its number for every subject that it belongs to."""
        with self._lock:
            self._calls.update(subjects(expert))
            return {subject: self._calls[subject] for subject in subjects(expert)}

    def record(self, request: SimRequest) -> None:
        with self._lock:
            self._requests.append(request)
            self._arrived += 1
            self._lock.notify_all()

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Whether `count` requests have arrived since the start, at the latest after `timeout_s`."""
        with self._lock:
            return self._lock.wait_for(lambda: self._arrived >= count, timeout_s)

    @property
    def requests(self) -> list[SimRequest]:
        """What arrived, oldest first."""
        with self._lock:
            return list(self._requests)


def _tool_call(index: int, call: Mapping[str, Any]) -> Mapping[str, Any]:
    if "function" in call:
        return call
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"id": f"call_{index}", "type": "function", "function": {"name": call["name"], "arguments": text}}
