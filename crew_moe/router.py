"""The Router: composition root and public face of the package.

It wires catalogue, policy, state, engine and executor together and holds no rule of its own: what is decided stands in
routing, what is tried and given up in execution, what is remembered in state.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from crew_moe.assembly import Assembly
from crew_moe.boards import Boards
from crew_moe.budgets import Budgets
from crew_moe.catalog import load_policy, load_registry
from crew_moe.clock import SystemClock
from crew_moe.deciding import Deciding
from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.digest import MAX_KEY_BYTES, digest
from crew_moe.domain.outcome import Completion, Feedback, Outcome, Piece
from crew_moe.domain.policy import Policy
from crew_moe.domain.principal import Principal
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.snapshot import Pin
from crew_moe.execution.circuits import Changes
from crew_moe.execution.errand import spoken_for
from crew_moe.experiments import Experiments
from crew_moe.explanation import Explanation, explain
from crew_moe.guards import Guards
from crew_moe.learning.learner import Learner, voice_of
from crew_moe.outcomes import Outcomes
from crew_moe.overrides import Overrides
from crew_moe.ports import Clock, DecisionLog, EventSink, PageStore, StateStore, Watcher
from crew_moe.reach import Reach
from crew_moe.routing.batch import Decisions
from crew_moe.routing.reports import ExpertHealth, Standing, health_of, standings, stats_of
from crew_moe.settings import read_settings
from crew_moe.state import open_log, open_pages, open_state
from crew_moe.state.memory.pages import MemoryPages
from crew_moe.strategies import STRATEGIES
from crew_moe.telemetry.events import LogSink
from crew_moe.telemetry.watching import Watchers, watched

if TYPE_CHECKING:
    from crew_moe.calls import Calls
    from crew_moe.execution.errand import Errand
    from crew_moe.execution.executor import Executor
    from crew_moe.execution.route import Route
    from crew_moe.execution.screened import Stop
    from crew_moe.services import Services

Messages = Sequence[Mapping[str, Any]] | None


class Router:
    """Decides, calls, records and explains. One per process or many over one store; safe for threads and forks.

    `decide` advises on the whole catalogue. Calls (`complete`, crews) go only to experts that can be called: not
    retired, and with their key in the environment; `live=True` makes `decide` keep to those too. With a `base_url`
    every remote expert is reached there, without a key.

    >>> from crew_moe import Feedback, Outcome, RoutingRequest
    >>> router = Router.from_config(state=":memory:")
    >>> request = RoutingRequest(
    ...     task_type="code_generation",
    ...     text="Implement authentication API",
    ...     budget_usd="0.01",
    ...     min_quality=0.85,
    ...     requires=["tools"],
    ... )
    >>> decision = router.decide(request)
    >>> print(f"{decision.expert_id} for ${decision.estimated_cost_usd:f}, {decision.confidence:.0%} sure")
    claude-sonnet-4 for $0.005124, 56% sure
    >>> served = Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=True, latency_ms=1200)
    >>> router.record(served)
    True
    >>> router.feedback(Feedback(decision_id=decision.decision_id, source="client-7", quality=0.92, pr_merged=True))
    True
    """

    def __init__(
        self,
        *,
        registry: Registry,
        policy: Policy,
        state: StateStore,
        log: DecisionLog,
        clock: Clock | None = None,
        sink: EventSink | None = None,
        live: bool = False,
        base_url: str | Mapping[str, str] | None = None,
        log_key: str = "",
        guards: Guards | None = None,
        pages: Callable[[], PageStore] = MemoryPages,
        watchers: Sequence[Watcher] = (),
        service_hosts: Sequence[str] = (),
        config: Path | None = None,
    ) -> None:
        self.policy, self.state, self.log = policy, state, log
        self.clock = clock or SystemClock()
        self.sink = watched(sink or LogSink(), watchers, self.clock)
        self._reach = Reach.read(base_url, service_hosts, config)
        self.log_key = digest(log_key, size=MAX_KEY_BYTES) if log_key else os.urandom(MAX_KEY_BYTES)
        self.guards = guards or Guards.in_memory(policy, registry, log=log, clock=self.clock, sink=self.sink)
        boards = partial(self._reach.board, registry, policy, self.clock.now())
        self.learner = Learner(policy, pages=pages, clock=self.clock, sink=self.sink, key=self.log_key, folder=config)
        busy, also = self.guards.busy_experts, self.learner.trials.watch(registry)
        self._boards = Boards(boards(live=live), state, self.clock, sink=self.sink, busy=busy, also=also)
        self._calling = self._boards if live or base_url is not None else self._boards.beside(boards(live=True))
        ledger, key = self.guards.ledger, self.log_key
        self.budgets = Budgets(ledger, policy=policy.budgets, log=log, clock=self.clock, log_key=key)
        self.learner.begin(self.registry)
        self.outcomes = Outcomes(
            registry=lambda: self.registry,
            state=state,
            log=log,
            clock=self.clock,
            sink=self.sink,
            charge=self.budgets.charge,
            learner=self.learner,
            lost=lambda: self._boards.lost,
            changes=Changes(self.sink, self._boards),
            watchers=Watchers(watchers),
        )
        refresh = partial(self._boards.refresh, force=True)
        self.overrides = Overrides(registry=lambda: self.registry, state=state, clock=self.clock, changed=refresh)
        self.experiments = Experiments(self.learner, boards=self._boards, calling=self._calling, clock=self.clock)
        self._deciding = Deciding(
            boards=self._boards,
            calling=self._calling,
            guards=self.guards,
            log=log,
            clock=self.clock,
            key=self.log_key,
            remember=self.budgets.remember,
            watchers=Watchers(watchers),
            insight=self.learner.insight,
            experiments=self.experiments,
        )

    @classmethod
    def from_config(
        cls,
        config: str | Path | None = None,
        *,
        state: str | None = None,
        base_url: str | Mapping[str, str] | None = None,
        live: bool = False,
        clock: Clock | None = None,
        sink: EventSink | None = None,
        watchers: Sequence[Watcher] = (),
        service_hosts: Sequence[str] | None = None,
    ) -> Self:
        """A router over the catalogue and policy of a folder (laid over the packaged ones) and a state URL.

        `state`: ":memory:" or "sqlite:///path.db"; unset, CREW_MOE_STATE or memory. `base_url`: one address for all
        remote experts, or one by provider. `watchers` are told of all that the router does. `service_hosts` are those
        beside public ones where services may be; None: CREW_MOE_SERVICE_HOSTS. Raises ConfigError, InvalidInput and
        StateError.
        """
        settings = read_settings()
        folder = Path(config) if config is not None else settings.config
        registry = load_registry(folder, live=live)
        policy = load_policy(folder, registry, STRATEGIES)
        url = state or settings.state
        log, clock = open_log(url), clock or SystemClock()
        sink = watched(sink or LogSink(), watchers, clock)
        return cls(
            registry=registry,
            policy=policy,
            state=open_state(url, policy.breaker),
            log=log,
            clock=clock,
            sink=sink,
            live=live,
            base_url=base_url,
            log_key=settings.log_key,
            guards=Guards.over(url, policy, registry, log=log, clock=clock, sink=sink, key=settings.log_key),
            pages=partial(open_pages, url),
            watchers=watchers,
            service_hosts=settings.listed_hosts if service_hosts is None else service_hosts,
            config=folder,
        )

    @property
    def registry(self) -> Registry:
        """Every expert that there is now: the catalogue's, and registered services."""
        return self._boards.current().registry

    # ---- deciding -------------------------------------------------------------------------------------------------

    def decide(
        self,
        request: RoutingRequest,
        *,
        for_call: bool = False,
        principal: Principal | None = None,
        demands: Demands = NO_DEMANDS,
    ) -> Decision | Infeasible:
        """The expert for one request. Reserves nothing, calls no model, never waits for the network.

        `for_call` keeps to experts that can be called now. `principal` is who was authenticated: what it says of
        itself takes the place of what the request says. `demands` are screening's. Raises InvalidRequest and
        UnknownExpert.
        """
        return self._deciding.decide(request, for_call=for_call, principal=principal, demands=demands)

    def refuse(self, request: RoutingRequest, stop: Stop) -> Infeasible:
        """The answer to a request whose text nobody may see."""
        return self._deciding.refuse(request, stop)

    async def adecide(
        self, request: RoutingRequest, *, for_call: bool = False, principal: Principal | None = None
    ) -> Decision | Infeasible:
        """As `decide`; it takes microseconds, so it runs on the loop."""
        return self.decide(request, for_call=for_call, principal=principal)

    def decide_batch(self, requests: Sequence[RoutingRequest], *, principal: Principal | None = None) -> Decisions:
        """As `decide` for many requests at once, in columns; a row becomes a Decision when it is read."""
        return self._deciding.decide_batch(requests, principal=principal)

    # ---- calling --------------------------------------------------------------------------------------------------

    def complete(
        self, request: RoutingRequest, messages: Messages = None, *, principal: Principal | None = None, **options: Any
    ) -> Completion | Infeasible:
        """Screen, decide, pass the gate, reserve, call with fallbacks, settle, record. `options` are fields of
        domain.chat.ChatRequest.

        Returns Infeasible when nobody may serve; raises ExecutionFailed, which lists every attempt, when all failed.
        """
        return self._calls.complete(request, messages, options, principal)

    async def acomplete(
        self, request: RoutingRequest, messages: Messages = None, *, principal: Principal | None = None, **options: Any
    ) -> Completion | Infeasible:
        """As `complete`, on an event loop."""
        return await self._calls.acomplete(request, messages, options, principal)

    def stream(
        self, request: RoutingRequest, messages: Messages = None, *, principal: Principal | None = None, **options: Any
    ) -> Iterator[Piece | Infeasible]:
        """As `complete`, in pieces as they come; the last one has the Completion. Closing it ends the call in flight.

        Where nobody may serve, the Infeasible is all there is. Another expert takes over only before the first piece;
        an answer that breaks off after it raises ExecutionFailed.
        """
        return self._calls.stream(request, messages, options, principal)

    def astream(
        self, request: RoutingRequest, messages: Messages = None, *, principal: Principal | None = None, **options: Any
    ) -> AsyncIterator[Piece | Infeasible]:
        """As `stream`, on an event loop: `async for piece in router.astream(...)`."""
        return self._calls.astream(request, messages, options, principal)

    def route(
        self,
        decision: Decision,
        request: RoutingRequest,
        *,
        experts: tuple[str, ...] | None = None,
        errand: Errand | None = None,
    ) -> Route:
        """What the executor needs to carry a decision out: experts in order, time, length, and who pays.

        `experts` takes the place of the decision's own order: the chosen one and its fallbacks.
        """
        return self._calls.route(decision, request, experts=experts, errand=errand)

    def at_home(self) -> AbstractAsyncContextManager[None]:
        """`async with`: calls on this event loop keep their connections on it, with no thread in between."""
        return self.executor.client.at_home()

    @cached_property
    def _calls(self) -> Calls:
        from crew_moe.calls import Calls

        return Calls(self)

    @cached_property
    def _assembly(self) -> Assembly:
        return Assembly(
            boards=self._boards,
            deciding=self._deciding,
            policy=self.policy,
            state=self.state,
            guards=self.guards,
            outcomes=self.outcomes,
            reach=self._reach,
            clock=self.clock,
            sink=self.sink,
            log=self.log,
        )

    @cached_property
    def executor(self) -> Executor:
        """What carries decisions out."""
        return self._assembly.executor()

    @cached_property
    def services(self) -> Services:
        """What looks after registered services: they join, are routed to, proxied to and rebalanced."""
        return self._assembly.services()

    # ---- learning, looking, overriding ------------------------------------------------------------------------------

    def record(self, outcome: Outcome) -> bool:
        """Take what came of a decision that somebody else carried out; False when it was recorded before.

        Moves the performance record and the breakers. Raises UnknownDecision and UnknownExpert.
        """
        return self.outcomes.record(outcome)

    def feedback(self, feedback: Feedback, *, principal: Principal | None = None) -> bool:
        """Take a judgement of the answer; False when this source judged this decision before. A `principal` of a tenant
        has one voice, whatever sources it names.

        Raises UnknownDecision, and NotServed where nobody answered.
        """
        return self.outcomes.feedback(feedback, voice=voice_of(principal))

    def forget(self, user: str) -> int:
        """Erase what was learned of a user's preferences; how many pages there were. The log never had the name."""
        return self.learner.forget(user)

    def explain(self, decision_id: str) -> Explanation:
        """The recorded decision, worked out again from its own row, and what came of it. Raises UnknownDecision."""
        row = self.outcomes.decision(decision_id)
        return explain(row, self.outcomes.served(decision_id), self.learner.trials.policy_of(row))

    def health(self) -> tuple[ExpertHealth, ...]:
        """How each expert does, and whether it can be called now."""
        self._calling.refresh(force=True)
        return health_of(self._calling.current())

    def experts(
        self, request: RoutingRequest, *, top: int | None = None, principal: Principal | None = None
    ) -> tuple[Standing, ...]:
        """Eligible experts for a request, best first, with cost comparison and ROI."""
        request = spoken_for(request, principal)
        board = self._boards.current()
        return standings(board, request, top, self.guards.access.over(board.registry).demands_of(request, principal))

    def stats(self) -> dict[str, Any]:
        """Figures of this router and its store: versions, recorded calls by expert, open breakers, pins, the log."""
        self._boards.refresh(force=True)
        told = {"state_lost": self._boards.lost, "log_dropped": getattr(self.log, "dropped", 0)}
        return {**stats_of(self._boards.current()), **told}

    def pin(
        self,
        expert_id: str,
        *,
        task_type: str | None = None,
        task: str | None = None,
        tenant: str | None = None,
        minutes: float | None = None,
        reason: str = "",
        by: str = "",
    ) -> Pin:
        """Send matching requests to this expert alone, until unpinned or for some minutes. Raises UnknownExpert."""
        return self.overrides.pin(
            expert_id, task_type=task_type, task=task, tenant=tenant, minutes=minutes, reason=reason, by=by
        )

    def unpin(
        self,
        expert_id: str | None = None,
        *,
        task_type: str | None = None,
        task: str | None = None,
        tenant: str | None = None,
    ) -> int:
        """Remove the pins that match every field given; how many there were."""
        return self.overrides.unpin(expert_id=expert_id, task_type=task_type, task=task, tenant=tenant)

    def overrides_version(self) -> int:
        """Changes with the pins in force, and as services join or leave: a running task knows to decide anew."""
        board = self._calling.current()
        return hash((board.snapshot.pins, board.columns.digest))

    def close(self) -> None:
        """Write what is pending and give connections back."""
        made = [self.__dict__[name] for name in ("executor", "services") if name in self.__dict__]
        for part in (self._boards, *made, self.learner, self.guards, self.log, self.state):
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
