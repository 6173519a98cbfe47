"""Everything that the seats of a crew did, call by call, for the report."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from threading import Lock
from typing import Any, Final

from crew_moe.crew.seat import SeatKind
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.outcome import Attempt
from crew_moe.domain.usage import Usage

MAX_CALLS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Another expert was turned to: from whom, to whom, and why.

    The reason is an error class when the former failed (a `fallback`), else what made a new decision necessary.
    """

    from_expert: str
    to_expert: str
    reason: str
    fallback: bool

    def as_dict(self) -> dict[str, str | bool]:
        return {
            "from": self.from_expert,
            "to": self.to_expert,
            "reason": self.reason,
            "fallback": self.fallback,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call of one seat. `expert_id` is who answered, None when nobody did; `run` numbers task executions.

    `redacted` counts the values that went out as placeholders.
    """

    run: int
    label: str
    in_task: bool
    seat: str
    kind: SeatKind
    ruling: Decision | Infeasible | None
    expert_id: str | None
    tier: str | None
    attempts: tuple[Attempt, ...]
    switches: tuple[Switch, ...]
    usage: Usage
    cost_usd: Decimal
    latency_ms: float
    redacted: int = 0
    error: str | None = None

    @property
    def decision_id(self) -> str | None:
        return None if self.ruling is None else self.ruling.decision_id

    @property
    def rationale(self) -> str:
        """Why this expert; put into words when somebody reads it."""
        if isinstance(self.ruling, Decision):
            return self.ruling.rationale
        return "" if self.ruling is None else self.ruling.message


@dataclass(frozen=True, slots=True, kw_only=True)
class UnroutedCall:
    """A call that some other LLM object made inside the crew (an unknown model, an overlay), as its event told it.

    `cost_usd` is None when no price is known.
    """

    who: str
    model: str
    task: str | None
    usage: Usage
    cost_usd: Decimal | None

    def as_dict(self) -> Mapping[str, Any]:
        return {
            "who": self.who,
            "model": self.model,
            "task": self.task,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "cost_usd": None if self.cost_usd is None else str(self.cost_usd),
        }


@dataclass(slots=True)
class Journal:
    """Thread-safe list of calls, the newest 10,000 kept; the counts stay exact beyond that. `numbers` counts runs."""

    calls: deque[CallRecord] = field(default_factory=lambda: deque(maxlen=MAX_CALLS))
    unrouted: deque[UnroutedCall] = field(default_factory=lambda: deque(maxlen=MAX_CALLS))
    total: int = 0
    fallbacks: int = 0
    cost_usd: Decimal = Decimal(0)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _lock: Lock = field(default_factory=Lock)

    def add(self, call: CallRecord) -> None:
        with self._lock:
            self.calls.append(call)
            self.total += 1
            self.fallbacks += sum(switch.fallback for switch in call.switches)
            self.cost_usd += call.cost_usd

    def add_unrouted(self, call: UnroutedCall) -> None:
        with self._lock:
            self.unrouted.append(call)

    def snapshot(self) -> tuple[tuple[CallRecord, ...], tuple[UnroutedCall, ...]]:
        """A consistent copy."""
        with self._lock:
            return tuple(self.calls), tuple(self.unrouted)
