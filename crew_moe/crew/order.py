"""One call with everything that deciding about it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crew_moe.crew.call import LLMCall
from crew_moe.crew.config import RoutingBlock
from crew_moe.crew.runs import Assignment, TaskRun
from crew_moe.crew.seat import Seat
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.domain.money import to_nano, to_usd
from crew_moe.domain.policy import Profile
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.execution.screened import Screened
from crew_moe.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A call, the seat and the run that it belongs to, and the block and the profile that hold for it.

    `call` is as an expert may see it; `screened` says what screening made of it and demands for it.
    """

    seat: Seat
    run: TaskRun
    call: LLMCall
    block: RoutingBlock
    profile: Profile | None
    screened: Screened
    run_id: str
    clock: Clock

    @property
    def limit_nano(self) -> int | None:
        """The task's budget."""
        given = (self.block.budget_usd, self.profile.budget_usd if self.profile else None)
        return min((to_nano(limit) for limit in given if limit is not None), default=None)

    @property
    def left_nano(self) -> int | None:
        """About what the task may still spend; None: no budget. What it may spend indeed, the ledger knows."""
        limit = self.limit_nano
        return None if limit is None else max(0, limit - self.run.spent_nano)

    @property
    def deadline(self) -> float | None:
        """When the task's time is over, by the clock's `monotonic`."""
        return None if self.block.deadline_ms is None else self.run.started + self.block.deadline_ms / 1000.0

    @property
    def may_shorten(self) -> bool:
        """Whether CrewAI shortens the conversation when it is told that it is too long."""
        return bool(getattr(self.call.from_agent, "respect_context_window", self.call.from_agent is not None))

    def fits(self, expert: Expert) -> bool:
        """Whether this expert can take this very call."""
        return self.call.requires <= expert.capabilities and self.call.input_tokens < expert.context_window

    def keep(self, assignment: Assignment) -> None:
        """Let `assignment` hold for the rest of the task."""
        with self.run.lock:
            self.run.assignments[self.seat.seat_id] = assignment

    def chat(self, max_output_tokens: int | None) -> ChatRequest:
        """The request as an expert gets it."""
        return self.call.chat(max_output_tokens, temperature=self.profile.temperature if self.profile else None)

    def request(self) -> RoutingRequest:
        """The question to the router, with the money and the time that the task has left now."""
        block, call = self.block, self.call
        fields: dict[str, Any] = block.request_fields()
        left, deadline = self.left_nano, self.deadline
        limits = [limit for limit in (block.max_output_tokens, call.sampling.max_tokens) if limit]
        fields.update(
            task_type=block.task_type or self.seat.kind.task_type or (None if call.text.strip() else TaskType.ANALYSIS),
            text=call.text,
            context_tokens=call.context_tokens,
            requires=fields["requires"] | call.requires,
            budget_usd=None if left is None else to_usd(left),
            max_output_tokens=min(limits, default=None),
            task=(self.run.name or "")[:200] or None,
            run_id=self.run_id,
        )
        if deadline is not None:
            fields["deadline_ms"] = max(1.0, (deadline - self.clock.monotonic()) * 1000.0)
        return RoutingRequest(**fields)
