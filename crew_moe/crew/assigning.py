"""Who serves a seat: decided once per task execution and kept, until something makes a new decision necessary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from crew_moe.crew.call import LLMCall
from crew_moe.crew.config import RoutingBlock
from crew_moe.crew.current import run_now
from crew_moe.crew.order import Order
from crew_moe.crew.payer import Payer
from crew_moe.crew.plan import RoutingPlan
from crew_moe.crew.runs import Assignment, TaskRun
from crew_moe.crew.seat import Seat
from crew_moe.domain.access import Demands
from crew_moe.domain.decision import Candidate, Decision, Infeasible
from crew_moe.domain.expert import Expert
from crew_moe.domain.outcome import Attempt, ErrorClass
from crew_moe.domain.request import RoutingRequest
from crew_moe.execution.clearance import Remedy
from crew_moe.execution.remedying import TURNED_AWAY, downgraded
from crew_moe.execution.route import Route, never

if TYPE_CHECKING:
    from crew_moe.router import Router

FIRST_CALL: Final = "first call"
AFTER_FAILURE: Final = "failure"
DOWNGRADED: Final = "downgrade"
_OVERFLOW: Final = ErrorClass.CONTEXT_OVERFLOW


class Assigner:
    """Makes and keeps the assignments of one crew."""

    def __init__(self, router: Router, plan: RoutingPlan, payer: Payer) -> None:
        self._router = router
        self._plan = plan
        self._payer = payer
        self._blocks: dict[tuple[str, str | None], RoutingBlock] = {}

    def order(self, seat: Seat, run: TaskRun, call: LLMCall) -> Order:
        """Put the call together with the block and the profile that hold for it, and have it screened."""
        block, here = self._block(seat, run.name), run_now()
        profile = self._router.policy.profiles[block.profile] if block.profile else None
        screened = self._router.guards.screen(call.chat(None), pii=block.data.pii, vault=run.vault)
        return Order(
            seat=seat,
            run=run,
            call=replace(call, messages=screened.chat.messages),
            block=block,
            profile=profile,
            screened=screened,
            run_id=here.name if here is not None else run.key,
            clock=self._router.clock,
        )

    def assign(self, order: Order) -> tuple[Assignment, str] | Infeasible:
        """The assignment that holds, or a new one, with the reason for it."""
        with order.run.lock:
            if order.screened.stop is not None:
                return self._router.refuse(order.request(), order.screened.stop)
            current = order.run.assignments.get(order.seat.seat_id)
            reason = self._stale(current, order)
            if current is not None and reason is None:
                return current, ""
            request = order.request()
            ruling = self._decide(order, request)
            if isinstance(ruling, Infeasible):
                return ruling
            made = self._assignment(*ruling, order, request)
            order.run.assignments[order.seat.seat_id] = made
            return made, reason or FIRST_CALL

    def reassign(
        self, order: Order, attempts: Sequence[Attempt], remedy: Remedy | None
    ) -> tuple[Assignment, str] | Infeasible | None:
        """Decide anew among the experts that have not failed this call, other providers first; None: nobody is left.

        Where the gate or a budget stood in the way, for less.
        """
        request, demands = order.request(), order.screened.demands
        if remedy is None:
            ruling = self.ruling(request, demands)
        else:
            instead = downgraded(request, demands, remedy, attempts, self.ruling)
            request, demands, ruling = instead.request, instead.demands, instead.ruling
        if isinstance(ruling, Infeasible):
            return ruling
        left = self._untried(ruling, attempts, order)
        if not left:
            return None
        first, *others = (candidate.expert_id for candidate in left)
        if first != ruling.expert_id:
            ruling = self.ruling(request.model_copy(update=_only(first)), demands)
            if isinstance(ruling, Infeasible):
                return ruling
        made = self._assignment(ruling, (first, *others), order, request)
        order.keep(made)
        return made, AFTER_FAILURE if remedy is None else DOWNGRADED

    def ruling(self, request: RoutingRequest, demands: Demands) -> Decision | Infeasible:
        """The router's answer, for whoever was authenticated to run the crew."""
        return self._router.decide(request, for_call=True, principal=self._payer.principal, demands=demands)

    def route(self, order: Order, assignment: Assignment) -> Route:
        """The executor's route: the assigned experts that can take this very call, the task's deadline and budget."""
        able = tuple(expert_id for expert_id in assignment.experts if order.fits(self._router.registry[expert_id]))
        here = run_now()
        return replace(
            assignment.route,
            experts=able or assignment.experts[:1],
            deadline=order.deadline,
            errand=self._payer.errand(order),
            cancelled=never if here is None or here.watch is None else here.watch.cancelled,
        )

    def possible(self, seat: Seat, task: str | None) -> Sequence[Expert]:
        """Experts that may serve the seat at this task, by the catalogue and the blocks alone."""
        block = self._block(seat, task)
        named = {name for name in (block.pin, *(block.fallbacks or ())) if name}
        return [expert for expert in self._router.registry if _may_serve(expert, block, named)]

    def _block(self, seat: Seat, task: str | None) -> RoutingBlock:
        """The plan's block for a seat at a task; the plan never changes, so each is put together once."""
        block = self._blocks.get((seat.seat_id, task))
        if block is None:
            agent = seat.agent or seat.kind
            served = seat.kind.serves_tasks
            block = self._plan.block(agent=agent, task=task) if served else self._plan.shared_block(seat.kind)
            self._blocks[seat.seat_id, task] = block
        return block

    def _stale(self, current: Assignment | None, order: Order) -> str | None:
        """Why the assignment that holds can't serve this call; None when it can."""
        if current is None:
            return FIRST_CALL
        if current.epoch != order.run.epoch:
            return "guardrail retry"
        if current.overrides != self._router.overrides_version():
            return "override"
        if current.demands != order.screened.demands:
            return "screening"
        expert = self._router.registry[current.experts[0]]
        if not order.call.requires <= expert.capabilities:
            return "needs"
        if order.call.input_tokens >= expert.context_window:
            return "context"
        left = order.left_nano
        if left is not None and expert.charge_nano(order.call.input_tokens, 0) > left:
            return "budget"
        return None

    def _decide(self, order: Order, request: RoutingRequest) -> tuple[Decision, tuple[str, ...]] | Infeasible:
        """The router's choice and who is tried after it.

        An agent's own model goes first where no file routes it and nothing forbids it: a decision pinned to it says so.
        """
        ruling = self.ruling(request, order.screened.demands)
        if isinstance(ruling, Infeasible):
            return ruling
        experts = (ruling.expert_id, *ruling.fallbacks)
        routed = self._plan.routes(agent=order.seat.agent, task=order.run.name)
        wanted = request.pin or (None if routed else order.seat.preference)
        if wanted in (None, ruling.expert_id) or all(one.expert_id != wanted for one in ruling.candidates):
            return ruling, experts
        own = self.ruling(request.model_copy(update=_only(wanted)), order.screened.demands)
        if isinstance(own, Infeasible):
            return ruling, experts
        return own, (own.expert_id, *(expert for expert in experts if expert != own.expert_id))

    def _assignment(
        self, decision: Decision, experts: tuple[str, ...], order: Order, request: RoutingRequest
    ) -> Assignment:
        return Assignment(
            decision=decision,
            route=self._router.route(decision, request, experts=experts),
            experts=experts,
            epoch=order.run.epoch,
            overrides=self._router.overrides_version(),
            demands=order.screened.demands,
        )

    def _untried(self, ruling: Decision, attempts: Sequence[Attempt], order: Order) -> list[Candidate]:
        """Candidates that did not fail, best first, those of providers without a failure before all others.

        After an overflow only those with a larger context window than any that overflowed.
        """
        registry, named = self._router.registry, order.block.fallbacks
        failed = {row.expert_id for row in attempts}
        down = {registry[row.expert_id].provider for row in attempts if row.error not in TURNED_AWAY}
        too_small = [registry[row.expert_id].context_window for row in attempts if row.error is _OVERFLOW]
        window = max(too_small, default=0)
        left = [
            candidate
            for candidate in ruling.candidates
            if candidate.expert_id not in failed
            and (named is None or candidate.expert_id in named)
            and registry[candidate.expert_id].context_window > window
        ]
        return sorted(left, key=lambda candidate: (candidate.provider in down, -candidate.ranking))


def _may_serve(expert: Expert, block: RoutingBlock, named: set[str]) -> bool:
    if not expert.enabled or (block.pin is not None and expert.expert_id not in named):
        return False
    local_only = block.data.pii == "local_only"
    return expert.is_local if local_only else not expert.named_only or expert.expert_id in named


def _only(expert_id: str) -> dict[str, Any]:
    """The change to a request that leaves this expert alone."""
    return {"pin": expert_id, "fallbacks": None}
