"""Calls that the tests of the gate ask about, and a gatekeeper over stores of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from crew_moe.clock import ManualClock
from crew_moe.domain.approval import Approval
from crew_moe.domain.expert import Tier
from crew_moe.domain.principal import Principal
from crew_moe.domain.verdict import GateContext
from crew_moe.gating.approval import Desk
from crew_moe.gating.gate import Check, Gate, Metered
from crew_moe.gating.gatekeeper import Gatekeeper
from crew_moe.ports import Approvals, Meters
from crew_moe.state import open_approvals, open_meters
from crew_moe.state.memory.log import MemoryLog
from crew_moe.telemetry.events import Recorder

NOW: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LEAD: Final = Principal(subject="lena", tenant="acme", roles=frozenset({"lead"}))
OTHER: Final = Principal(subject="otto", tenant="acme", roles=frozenset({"intern"}))


def call(**fields: Any) -> GateContext:
    """A premium call of bob's."""
    facts: dict[str, Any] = {
        "expert_id": "o1",
        "provider": "openai",
        "tier": Tier.PREMIUM,
        "digest": "d1",
        "max_cost_usd": Decimal("0.15"),
        "now": NOW,
        "decision_id": "d-1",
        "task": "audit",
        "task_type": "security_audit",
        "tenant": "acme",
        "user": "bob",
        "roles": frozenset({"dev"}),
        "workspace": "w1",
        "channel": "c1",
    }
    return GateContext(**facts | fields)


class Console:
    """An approver that keeps what it was asked."""

    def __init__(self) -> None:
        self.questions: list[Approval] = []

    def asked(self, approval: Approval) -> None:
        self.questions.append(approval)


@dataclass(kw_only=True)
class Stage:
    """A gatekeeper and everything around it; `keeper` is made of `checks`."""

    checks: Iterable[Check | Metered] = ()
    options: dict[str, Any] = field(default_factory=dict)
    ttl_s: float = 900.0
    approvals: Approvals = field(default_factory=lambda: open_approvals(":memory:"))
    meters: Meters = field(default_factory=lambda: open_meters(":memory:"))
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    sink: Recorder = field(default_factory=Recorder)
    log: MemoryLog = field(default_factory=MemoryLog)
    console: Console = field(default_factory=Console)

    def __post_init__(self) -> None:
        self.desk = self.another_desk()
        gate = Gate(self.checks, approvers=self.options.pop("approvers", ()))
        self.keeper = Gatekeeper(
            gate, meters=self.meters, desk=self.desk, clock=self.clock, sink=self.sink, **self.options
        )

    def another_desk(self) -> Desk:
        """A desk of another process, or after a restart, over the same store."""
        return Desk(
            self.approvals,
            clock=self.clock,
            log=self.log,
            sink=self.sink,
            ttl_s=self.ttl_s,
            approvers=[self.console],
        )

    def kinds(self) -> list[str]:
        """The audit so far, oldest first."""
        return [str(row["kind"]) for row in reversed(self.log.tail(100))]

    def sleeping(self, *, then: Callable[[], object], after_s: float) -> Callable[[float], None]:
        """A sleep that lets time pass, and does `then` when so much of it is over."""
        ends = self.clock.monotonic() + after_s
        done: list[object] = []

        def sleep(seconds: float) -> None:
            self.clock.advance(seconds)
            if self.clock.monotonic() >= ends and not done:
                done.append(then())

        return sleep
