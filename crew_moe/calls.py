"""One call, whole or streamed: screened, decided, cleared, made; decided anew where gate or budget stood in the way.

The generator `completing` waits for nothing: it yields what to send along which route and is told how it went, so that
whole and streamed answers, blocking and not, share every decision.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from crew_moe.domain.access import Demands
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.outcome import Attempt, Completion, Piece
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import ExecutionFailed
from crew_moe.execution.completing import completion, prepare, route_of
from crew_moe.execution.pieces import Pieces
from crew_moe.execution.remedying import downgraded
from crew_moe.execution.route import Answer, AnswerChunk, Route
from crew_moe.execution.screened import Screened
from crew_moe.gating.off_loop import off_loop
from crew_moe.guards import opening_of

if TYPE_CHECKING:
    from crew_moe.execution.errand import Errand
    from crew_moe.router import Router

Messages = Sequence[Mapping[str, Any]]
Outcome = Answer | ExecutionFailed


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do now: send what screening left of the chat along `route`, after the attempts that came before."""

    route: Route
    screened: Screened
    before: tuple[Attempt, ...]

    @property
    def chat(self) -> ChatRequest:
        return self.screened.chat


Steps = Generator[Step, Outcome, Completion | Infeasible]


class Calls:
    """`Router.complete`, `Router.stream` and their asynchronous twins."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def complete(
        self,
        request: RoutingRequest,
        messages: Messages | None,
        options: Mapping[str, Any],
        principal: Principal | None,
    ) -> Completion | Infeasible:
        with closing(self._completing(*prepare(request, messages, options), principal)) as steps:
            try:
                step = next(steps)
                while True:
                    step = steps.send(self._attempt(step))
            except StopIteration as done:
                return _result(done)

    async def acomplete(
        self,
        request: RoutingRequest,
        messages: Messages | None,
        options: Mapping[str, Any],
        principal: Principal | None,
    ) -> Completion | Infeasible:
        with closing(await self._acompleting(*prepare(request, messages, options), principal)) as steps:
            try:
                step = next(steps)
                while True:
                    step = steps.send(await self._aattempt(step))
            except StopIteration as done:
                return _result(done)

    def stream(
        self,
        request: RoutingRequest,
        messages: Messages | None,
        options: Mapping[str, Any],
        principal: Principal | None,
    ) -> Iterator[Piece | Infeasible]:
        with closing(self._completing(*prepare(request, messages, options, stream=True), principal)) as steps:
            pouring = None
            try:
                step = next(steps)
                while True:
                    pouring = _Pouring(step)
                    yield from self._pour(pouring)
                    step = steps.send(pouring.outcome)
            except StopIteration as done:
                result = _result(done)
            yield _last(pouring, result)

    async def astream(
        self,
        request: RoutingRequest,
        messages: Messages | None,
        options: Mapping[str, Any],
        principal: Principal | None,
    ) -> AsyncIterator[Piece | Infeasible]:
        with closing(await self._acompleting(*prepare(request, messages, options, stream=True), principal)) as steps:
            pouring = None
            try:
                step = next(steps)
                while True:
                    pouring = _Pouring(step)
                    async with aclosing(self._apour(pouring)) as pieces:
                        async for piece in pieces:
                            yield piece
                    step = steps.send(pouring.outcome)
            except StopIteration as done:
                result = _result(done)
            yield _last(pouring, result)

    def route(
        self, decision: Decision, request: RoutingRequest, *, experts: tuple[str, ...] | None, errand: Errand | None
    ) -> Route:
        """What the executor needs to carry a decision out; `experts` takes the place of its own order."""
        router = self._router
        return route_of(
            decision,
            experts or (decision.expert_id, *decision.fallbacks),
            request,
            router.policy,
            monotonic=router.clock.monotonic(),
            errand=errand or router.guards.errand(request, task=decision.decision_id),
        )

    def _completing(self, request: RoutingRequest, chat: ChatRequest, principal: Principal | None) -> Steps:
        screened = self._router.guards.screen(chat, pii=request.pii)
        return completing(self._router, request, chat, principal, screened)

    async def _acompleting(self, request: RoutingRequest, chat: ChatRequest, principal: Principal | None) -> Steps:
        """As `_completing`; where a chat is screened, the loop goes on meanwhile."""
        if not self._router.guards.safety.looks(request.pii):
            return self._completing(request, chat, principal)
        return await off_loop(partial(self._completing, request, chat, principal))

    def _pour(self, pouring: _Pouring) -> Iterator[Piece]:
        step = pouring.step
        try:
            chunks = cast("Generator[AnswerChunk, None, None]", self._router.executor.stream(step.route, step.chat))
            with closing(chunks):
                for chunk in chunks:
                    yield from pouring.take(chunk)
        except ExecutionFailed as failure:
            pouring.fail(failure)

    async def _apour(self, pouring: _Pouring) -> AsyncGenerator[Piece, None]:
        step = pouring.step
        try:
            chunks = cast("AsyncGenerator[AnswerChunk, None]", self._router.executor.astream(step.route, step.chat))
            async with aclosing(chunks):
                async for chunk in chunks:
                    for piece in pouring.take(chunk):
                        yield piece
        except ExecutionFailed as failure:
            pouring.fail(failure)

    def _attempt(self, step: Step) -> Outcome:
        try:
            return self._router.executor.run(step.route, step.chat)
        except ExecutionFailed as failure:
            return failure

    async def _aattempt(self, step: Step) -> Outcome:
        try:
            return await self._router.executor.arun(step.route, step.chat)
        except ExecutionFailed as failure:
            return failure


class _Pouring:
    """One step of a stream: its pieces, and how it ended."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.pieces = Pieces(step.route.decision_id, step.screened, step.before)
        self._outcome: Outcome | None = None

    @property
    def outcome(self) -> Outcome:
        if self._outcome is None:
            raise RuntimeError("the executor's stream has no end")
        return self._outcome

    def take(self, chunk: AnswerChunk) -> Iterator[Piece]:
        self._outcome = chunk.answer
        return self.pieces.of(chunk)

    def fail(self, failure: ExecutionFailed) -> None:
        """Nobody answered, or not to the end: what was shown can't be taken back, so nobody else may begin anew."""
        remedy = None if self.pieces.shown else failure.remedy
        self._outcome = ExecutionFailed(failure.attempts, reason=failure.reason, remedy=remedy)


def completing(
    router: Router, request: RoutingRequest, chat: ChatRequest, principal: Principal | None, screened: Screened
) -> Steps:
    """Yield steps until one is answered; `screened` is what screening made of the chat.

    Raises ExecutionFailed with every attempt when none is.
    """
    if screened.stop is not None:
        return router.refuse(request, screened.stop)

    def decide(asked: RoutingRequest, demands: Demands) -> Decision | Infeasible:
        return router.decide(asked, for_call=True, principal=principal, demands=demands)

    asks = router.guards.asks or screened.hold
    opening = opening_of(chat) if asks else ""  # with the true values, so that a yes is good for no other ones
    asked, demands, attempts, task = request, screened.demands, list[Attempt](), ""
    decision, deadline = decide(asked, demands), _deadline(router, request)
    while True:
        if isinstance(decision, Infeasible):
            if attempts:
                raise ExecutionFailed(attempts, reason=str(decision))
            return decision
        task = task or decision.decision_id
        errand = router.guards.errand(request, task=task, principal=principal, screened=screened, opening=opening)
        route = replace(router.route(decision, asked, errand=errand), deadline=deadline)
        outcome = yield Step(route, screened, tuple(attempts))
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


def _last(pouring: _Pouring | None, result: Completion | Infeasible) -> Piece | Infeasible:
    if isinstance(result, Infeasible):
        return result
    if pouring is None:
        raise RuntimeError("an answer that nobody was asked for")
    return pouring.pieces.last(result)


def _result(done: StopIteration) -> Completion | Infeasible:
    result: Completion | Infeasible = done.value
    return result
