"""What a router calls with, put together when the first call is made: deciding alone loads no HTTP client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crew_moe.boards import Boards
from crew_moe.deciding import Deciding
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.guards import Guards
from crew_moe.outcomes import Outcomes
from crew_moe.ports import Clock, DecisionLog, EventSink, StateStore
from crew_moe.reach import Reach
from crew_moe.state.memory.ledger import MemoryLedger

if TYPE_CHECKING:
    from crew_moe.execution.executor import Executor
    from crew_moe.execution.service_calls import ServiceCalls
    from crew_moe.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The parts of one router that its calls go through."""

    boards: Boards
    deciding: Deciding
    policy: Policy
    state: StateStore
    guards: Guards
    outcomes: Outcomes
    reach: Reach
    clock: Clock
    sink: EventSink
    log: DecisionLog

    def executor(self) -> Executor:
        """Carries decisions out."""
        from crew_moe.execution.executor import Executor

        return Executor(
            registry=self._registry,
            client=self.reach.transports(self.clock, self.sink, self.log),
            state=self.state,
            barrier=self.guards.barrier(),
            known=self.boards,
            blocking=self._blocking,
            limits=self.policy.limits,
            clock=self.clock,
            report=self.outcomes.attempted,
            sink=self.sink,
        )

    def services(self) -> Services:
        """Looks after registered services."""
        from crew_moe.services import Services

        return Services(
            state=self.state,
            boards=self.boards,
            deciding=self.deciding,
            guards=self.guards,
            calls=self._service_calls,
            rules=self.reach.hosts,
            clock=self.clock,
            sink=self.sink,
        )

    def _service_calls(self) -> ServiceCalls:
        from crew_moe.execution.circuits import Circuits
        from crew_moe.execution.service_calls import ServiceCalls

        return ServiceCalls(
            rules=self.reach.hosts,
            circuits=Circuits(state=self.state, clock=self.clock, sink=self.sink, known=self.boards),
            barrier=self.guards.barrier(),
            clock=self.clock,
            report=self.outcomes.attempted,
            blocking=self._blocking,
        )

    @property
    def _blocking(self) -> bool:
        """Whether the stores wait for a disk or a server."""
        return not isinstance(self.guards.ledger, MemoryLedger)

    def _registry(self) -> Registry:
        return self.boards.current().registry
