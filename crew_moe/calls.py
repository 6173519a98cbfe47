"""One call of `complete`: screened, decided, cleared, made; decided anew where the gate or a budget stood in the way.

Nothing here waits: the generator yields what to send along which route and is told how it went, so that the blocking
and the asynchronous ways share every decision.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crew_moe.domain.access import Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.outcome import Attempt, Completion
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.completing import completion, prepare
from crew_moe.execution.remedying import downgraded
from crew_moe.execution.route import Answer, Route
from crew_moe.guards import opening_of
from crew_moe.ports import ChatRequest

if TYPE_CHECKING:
    from crew_moe.router import Router

Messages = Sequence[Mapping[str, Any]]
Outcome = Answer | ExecutionFailed
Steps = Generator[tuple[Route, ChatRequest], Outcome, Completion | Infeasible]


class Calls:
    """`Router.complete` and its asynchronous twin."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def complete(
        self,
        request: RoutingRequest,
        messages: Messages | None,
        options: Mapping[str, Any],
        principal: Principal | None,
    ) -> Completion | Infeasible:
        with closing(completing(self._router, *prepare(request, messages, options), principal)) as steps:
            try:
                step = next(steps)
                while True:
                    step = steps.send(self._attempt(*step))
            except StopIteration as done:
                return _result(done)

    async def acomplete(
        self,
        request: RoutingRequest,
        messages: Messages | None,
        options: Mapping[str, Any],
        principal: Principal | None,
    ) -> Completion | Infeasible:
        with closing(completing(self._router, *prepare(request, messages, options), principal)) as steps:
            try:
                step = next(steps)
                while True:
                    step = steps.send(await self._aattempt(*step))
            except StopIteration as done:
                return _result(done)

    def _attempt(self, route: Route, chat: ChatRequest) -> Outcome:
        try:
            return self._router.executor.run(route, chat)
        except ExecutionFailed as failure:
            return failure

    async def _aattempt(self, route: Route, chat: ChatRequest) -> Outcome:
        try:
            return await self._router.executor.arun(route, chat)
        except ExecutionFailed as failure:
            return failure


def completing(router: Router, request: RoutingRequest, chat: ChatRequest, principal: Principal | None) -> Steps:
    """Yield (route, chat) until one is answered. Raises ExecutionFailed with every attempt when none is."""
    screened = router.guards.screen(chat, pii=request.pii)
    if screened.stop is not None:
        return router.refuse(request, screened.stop)

    def decide(asked: RoutingRequest, demands: Demands) -> Decision | Infeasible:
        return router.decide(asked, for_call=True, principal=principal, demands=demands)

    opening = opening_of(chat)  # with the true values, so that a yes is good for no other ones
    asked, demands, attempts, task = request, screened.demands, list[Attempt](), ""
    decision, deadline = decide(asked, demands), _deadline(router, request)
    while True:
        if isinstance(decision, Infeasible):
            if attempts:
                raise ExecutionFailed(attempts, reason=str(decision))
            return decision
        task = task or decision.decision_id
        errand = router.guards.errand(request, task=task, principal=principal, screened=screened, opening=opening)
        outcome = yield replace(router.route(decision, asked, errand=errand), deadline=deadline), screened.chat
        attempts += outcome.attempts
        if isinstance(outcome, Answer):
            whole = replace(outcome, reply=screened.restore(outcome.reply), attempts=tuple(attempts))
            return completion(decision, whole)
        if outcome.remedy is None or outcome.attempts == ():
            raise ExecutionFailed(attempts, reason=outcome.reason)
        instead = downgraded(asked, demands, outcome.remedy, attempts, decide)
        asked, demands, decision = instead.request, instead.demands, instead.ruling


def _deadline(router: Router, request: RoutingRequest) -> float | None:
    """When the time of the whole call is over, by the clock's `monotonic`."""
    return None if request.deadline_ms is None else router.clock.monotonic() + request.deadline_ms / 1000.0


def _result(done: StopIteration) -> Completion | Infeasible:
    result: Completion | Infeasible = done.value
    return result
