"""Puts every LLM seat of a crew behind the router."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from crewai import Agent, Crew

from crew_moe.crew.converter import convert_by_seat
from crew_moe.crew.current import remember
from crew_moe.crew.dispatcher import Dispatcher
from crew_moe.crew.journal import Journal
from crew_moe.crew.listener import listen
from crew_moe.crew.models import expert_of, is_default, sampling_of
from crew_moe.crew.native import register_native
from crew_moe.crew.payer import Payer
from crew_moe.crew.plan import RoutingPlan, load_plan
from crew_moe.crew.routed_crew import RoutedCrew, routed_class
from crew_moe.crew.routed_llm import RoutedLLM
from crew_moe.crew.seat import Seat, SeatKind
from crew_moe.domain.principal import Principal
from crew_moe.ports import Amount
from crew_moe.settings import read_settings

if TYPE_CHECKING:
    from crewai.agents.agent_builder.base_agent import BaseAgent

    from crew_moe.router import Router


AnyCrew = TypeVar("AnyCrew", bound=Crew)


def attach(
    crew: AnyCrew,
    routing: str | Path | None = None,
    *,
    router: Router,
    principal: Principal | None = None,
    budget_usd: Amount | None = None,
) -> AnyCrew:
    """Route the crew's calls; returns the same crew. Attaching again replaces the routing, it never wraps twice.

    `routing` is tasks.yaml, a sidecar or their folder; None routes every task by what its words tell. `principal` is
    who was authenticated to run it, `budget_usd` what one kickoff may cost in all, whatever fails. With
    CREW_MOE_DISABLED=1 the crew keeps its models, and its calls still pass the gate. Raises ConfigError and
    NotAvailable before anything is changed.
    """
    payer = Payer.of(router, principal, budget_usd)
    if read_settings().disabled:
        _dispatch(crew, load_plan(None), Journal(), payer)
        return crew
    plan = load_plan(routing)
    plan.check(router.registry, router.policy)
    _check_reach(plan, crew)
    for kind in _shared_seats(crew):
        plan.shared_block(kind)
    wire(crew, plan, Journal(), payer)
    return crew


def wire(crew: Crew, plan: RoutingPlan, journal: Journal, payer: Payer) -> Crew:
    """`attach` with a plan that was read before, writing to a journal that copies of one crew share."""
    register_native(payer.router.executor.client)
    routed = _dispatch(crew, plan, journal, payer)
    routed._rewire = lambda copied: wire(copied, plan, journal, payer)
    wiring = _Wiring(crew, cast(Dispatcher, routed._dispatcher))
    wiring.agents()
    wiring.crew_seats()
    wiring.memories()
    wiring.guardrails()
    return routed


def _dispatch(crew: Crew, plan: RoutingPlan, journal: Journal, payer: Payer) -> RoutedCrew:
    """Give the crew a dispatcher, by which its calls are known, without a change to any of its models."""
    # The same object goes on under a class of ours: whoever holds the crew (a Flow, a CrewBase) holds the routed one.
    object.__setattr__(crew, "__class__", routed_class(type(crew)))
    routed = cast(RoutedCrew, crew)
    dispatcher = Dispatcher(payer.router, plan, tasks=lambda: crew.tasks, journal=journal, payer=payer)
    routed._dispatcher = dispatcher
    routed._rewire = lambda copied: _dispatch(copied, plan, journal, payer)
    remember(str(crew.id), dispatcher)
    listen()
    return routed


class _Wiring:
    """The seats of one crew, one method a group."""

    def __init__(self, crew: Crew, dispatcher: Dispatcher) -> None:
        self._crew = crew
        self._dispatcher = dispatcher

    def agents(self) -> None:
        """Agents, the tools' models of agents and the models that plan their steps; the manager is one too."""
        for agent in _agents_of(self._crew):
            manager = agent is self._crew.manager_agent
            kind = SeatKind.MANAGER if manager else SeatKind.AGENT
            agent.llm = self._routed(agent.llm, kind, agent)
            if isinstance(agent, Agent) and isinstance(agent.llm, RoutedLLM):
                convert_by_seat(agent)
            if _field(agent, "function_calling_llm") is not None:
                agent.function_calling_llm = self._routed(  # type: ignore[attr-defined]  # of Agent alone
                    _field(agent, "function_calling_llm"), SeatKind.FUNCTION_CALLING, agent
                )
            planning = _field(agent, "planning_config")
            if planning is not None and planning.llm is not None:
                planning.llm = self._routed(planning.llm, SeatKind.REASONING, agent)

    def crew_seats(self) -> None:
        """The models that the crew itself holds."""
        crew = self._crew
        if crew.manager_llm is not None:
            crew.manager_llm = self._routed(crew.manager_llm, SeatKind.MANAGER)
        if crew.planning or crew.planning_llm is not None:
            crew.planning_llm = self._routed(crew.planning_llm, SeatKind.PLANNING)
        if _field(crew, "function_calling_llm") is not None:
            crew.function_calling_llm = self._routed(_field(crew, "function_calling_llm"), SeatKind.FUNCTION_CALLING)
        if crew.chat_llm is not None:
            crew.chat_llm = self._routed(crew.chat_llm, SeatKind.CHAT)

    def memories(self) -> None:
        """Memories keep a copy of the first agent's model from when they were made."""
        for memory in {id(memory): memory for memory in self._memories()}.values():
            held = memory._llm_instance or memory.llm
            if self._is_ours(held):
                continue  # shared with the crew that this one is a copy of
            standard = held == type(memory).model_fields["llm"].default
            routed = self._routed(None if standard else held, SeatKind.MEMORY)
            memory.llm = routed
            memory._llm_instance = routed if isinstance(routed, RoutedLLM) else memory._llm_instance

    def guardrails(self) -> None:
        """Guardrails in words keep the model that their task's agent had."""
        for task in self._crew.tasks:
            guards = [task._guardrail, *task._guardrails]
            for guard in guards:
                if task.agent is not None and isinstance(task.agent.llm, RoutedLLM) and hasattr(guard, "llm"):
                    guard.llm = task.agent.llm  # type: ignore[union-attr]  # one that has a model

    def _is_ours(self, held: Any) -> bool:
        routed = isinstance(held, RoutedLLM) and held.is_seated
        return routed and held.seat.dispatcher.journal is self._dispatcher.journal

    def _memories(self) -> Iterable[Any]:
        held = [self._crew._memory, *(_field(agent, "memory") for agent in _agents_of(self._crew))]
        inner = (getattr(memory, "_memory", None) or memory for memory in held)
        return (memory for memory in inner if hasattr(memory, "_llm_instance"))

    def _routed(self, held: Any, kind: SeatKind, agent: BaseAgent | None = None) -> Any:
        """The routed model for a seat, or the model itself when it is one that nobody routes and nobody knows."""
        role = None if agent is None else _role(agent)
        if isinstance(held, RoutedLLM) and held.is_seated:
            preference, sampling = held.seat.preference, held.seat.sampling
        else:
            known = expert_of(held, self._dispatcher.router.registry)
            if known is None and not is_default(held) and not self._is_routed(agent, role):
                return held
            preference = None if is_default(held) else known
            sampling = sampling_of(held)
        self._dispatcher.members.add(role)
        seat = Seat(
            seat_id=uuid4().hex,
            kind=kind,
            agent=role,
            preference=preference,
            sampling=sampling,
            dispatcher=self._dispatcher,
        )
        return RoutedLLM.on(seat, stream=getattr(held, "stream", None))

    def _is_routed(self, agent: BaseAgent | None, role: str | None) -> bool:
        plan = self._dispatcher.plan
        tasks = [task.name for task in self._crew.tasks if task.agent is agent] if agent is not None else []
        return plan.default is not None or any(plan.routes(agent=role, task=task) for task in [None, *tasks])


def _agents_of(crew: Crew) -> Iterable[BaseAgent]:
    """Every agent of the crew once, its manager and those that only tasks name among them."""
    found = [*crew.agents, *(task.agent for task in crew.tasks if task.agent is not None)]
    if crew.manager_agent is not None:
        found.append(crew.manager_agent)
    return {id(agent): agent for agent in found}.values()


def _check_reach(plan: RoutingPlan, crew: Crew) -> None:
    """Every block finds its agent or task in the crew, and the blocks of each task agree."""
    plan.check_agents([*SeatKind, *map(_role, _agents_of(crew))])
    plan.check_tasks(task.name for task in crew.tasks)
    for task in crew.tasks:
        plan.block(agent=None if task.agent is None else _role(task.agent), task=task.name)


def _shared_seats(crew: Crew) -> Iterable[SeatKind]:
    """Seats of this crew that work for all of its tasks."""
    if crew.planning or crew.planning_llm is not None:
        yield SeatKind.PLANNING
    if crew._memory is not None:
        yield SeatKind.MEMORY
    if crew.chat_llm is not None:
        yield SeatKind.CHAT


def _role(agent: BaseAgent) -> str:
    """The role as files have it: before inputs were put into it."""
    return (getattr(agent, "_original_role", None) or agent.role).strip()


def _field(model: Any, name: str) -> Any:
    """A field's value without the warning that CrewAI gives for its deprecated ones."""
    return model.__dict__.get(name)
