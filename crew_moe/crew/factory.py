"""Agents and crews from YAML alone: agents.yaml and tasks.yaml with `routing:` in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from crewai import Agent, Crew, Process, Task
from crewai.tools import BaseTool
from pydantic import BaseModel, ValidationError

from crew_moe.crew.call import Sampling
from crew_moe.crew.dispatcher import Dispatcher
from crew_moe.crew.models import AUTO, expert_of
from crew_moe.crew.native import register_native
from crew_moe.crew.payer import Payer
from crew_moe.crew.plan import AGENTS_FILE, TASKS_FILE, RoutingPlan, load_plan
from crew_moe.crew.routed_llm import RoutedLLM
from crew_moe.crew.seat import Seat, SeatKind
from crew_moe.crew.wiring import attach
from crew_moe.documents import read_mapping
from crew_moe.domain.complaint import complaint
from crew_moe.domain.principal import Principal
from crew_moe.errors import ConfigError
from crew_moe.ports import Amount
from crew_moe.settings import read_settings

if TYPE_CHECKING:
    from crew_moe.router import Router

_Made = TypeVar("_Made", bound=BaseModel)

_AGENT_KEYS: Final = frozenset(Agent.model_fields) | {"routing"}
_TASK_KEYS: Final = frozenset(Task.model_fields) | {"routing"}
_NEEDS_PYTHON: Final = ("callback", "output_pydantic", "output_json", "converter_cls", "response_model")


class AgentFactory:
    """Builds CrewAI agents whose models are routed. `tools` are those that YAML may name, `principal` is who was
    authenticated to run them, `budget_usd` what one kickoff of a crew may cost.
    """

    def __init__(
        self,
        router: Router,
        *,
        tools: Mapping[str, BaseTool] | None = None,
        principal: Principal | None = None,
        budget_usd: Amount | None = None,
    ) -> None:
        self._router = router
        self._tools = dict(tools or {})
        self._principal = principal
        self._budget_usd = budget_usd

    def build(self, config_dir: str | Path) -> dict[str, Agent]:
        """Agents by their name in agents.yaml, each with a routed model; tasks.yaml routes their tasks by name.

        Raises ConfigError, which names file, key, what is allowed and the closest match.
        """
        folder = Path(config_dir)
        plan = load_plan(folder)
        plan.check(self._router.registry, self._router.policy)
        register_native(self._router.executor.client)
        payer = Payer.of(self._router, self._principal, self._budget_usd)
        dispatcher = Dispatcher(self._router, plan, tasks=tuple, payer=payer)
        entries = read_mapping(folder / AGENTS_FILE)
        return {name: self._agent(name, entry, folder / AGENTS_FILE, dispatcher) for name, entry in entries.items()}

    def build_crew(self, config_dir: str | Path, *, process: Process = Process.sequential, **inputs: Any) -> Crew:
        """A crew of all tasks in tasks.yaml, in their order, attached to the router; `inputs` fill its placeholders."""
        folder = Path(config_dir)
        agents = self.build(folder)
        tasks = self._tasks(folder / TASKS_FILE, agents)
        manager = AUTO if process is Process.hierarchical else None
        parts = {"agents": list(agents.values()), "tasks": list(tasks.values())}
        crew = _made(Crew, {**parts, "process": process, "manager_llm": manager}, folder / TASKS_FILE, "")
        if inputs:
            for task in crew.tasks:
                task.interpolate_inputs_and_add_conversation_history(inputs)
            for agent in crew.agents:
                agent.interpolate_inputs(inputs)
        return attach(crew, folder, router=self._router, principal=self._principal, budget_usd=self._budget_usd)

    def _agent(self, name: str, entry: Any, file: Path, dispatcher: Dispatcher) -> Agent:
        fields = _fields(entry, _AGENT_KEYS, file, name)
        _required(fields, ("role", "goal", "backstory"), file, name)
        own = fields.pop("llm", None)
        if not isinstance(own, str | None):
            raise ConfigError("must be the name of a model", file=str(file), key=f"{name}.llm")
        fields["tools"] = self._named_tools(fields.get("tools"), file, name)
        return _made(Agent, {**fields, "llm": self._model(own, fields["role"], dispatcher)}, file, name)

    def _model(self, own: str | None, role: str, dispatcher: Dispatcher) -> Any:
        """The routed model of an agent; CrewAI's own when routing is off or the catalogue knows no such model."""
        known = expert_of(own, self._router.registry)
        if read_settings().disabled or (own is not None and known is None and not _routed(dispatcher.plan, role)):
            return own
        seat = Seat(
            seat_id=uuid4().hex,
            kind=SeatKind.AGENT,
            agent=role.strip(),
            preference=known,
            sampling=Sampling(),
            dispatcher=dispatcher,
        )
        return RoutedLLM.on(seat)

    def _tasks(self, file: Path, agents: Mapping[str, Agent]) -> dict[str, Task]:
        tasks: dict[str, Task] = {}
        for name, entry in read_mapping(file).items():
            fields = _fields(entry, _TASK_KEYS, file, name)
            _required(fields, ("description", "expected_output", "agent"), file, name)
            for key in _NEEDS_PYTHON:
                if fields.get(key) is not None:
                    raise ConfigError(
                        "names Python code: build this crew with CrewBase and attach it",
                        file=str(file),
                        key=f"{name}.{key}",
                    )
            fields["agent"] = _named(fields["agent"], agents, "agent", file, f"{name}.agent")
            if fields.get("context") is not None:
                key = f"{name}.context"
                earlier = _names(fields["context"], file, key)
                fields["context"] = [_named(one, tasks, "earlier task", file, key) for one in earlier]
            fields["tools"] = self._named_tools(fields.get("tools"), file, name)
            tasks[name] = _made(Task, {**fields, "name": name}, file, name)
        return tasks

    def _named_tools(self, names: Any, file: Path, owner: str) -> list[BaseTool]:
        key = f"{owner}.tools"
        return [_named(name, self._tools, "tool", file, key) for name in _names(names or [], file, key)]


def _fields(entry: Any, allowed: frozenset[str], file: Path, name: str) -> dict[str, Any]:
    """One entry without its routing; unknown keys are errors."""
    if not isinstance(entry, Mapping):
        raise ConfigError("an entry must be a mapping", file=str(file), key=name)
    for key in entry:
        if key not in allowed:
            raise ConfigError(f"unknown key '{key}'", file=str(file), key=name, value=key, allowed=sorted(allowed))
    return {key: value for key, value in entry.items() if key != "routing"}


def _required(fields: Mapping[str, Any], keys: tuple[str, ...], file: Path, name: str) -> None:
    for key in keys:
        if not isinstance(fields.get(key), str) or not fields[key].strip():
            raise ConfigError("is required and must be text", file=str(file), key=f"{name}.{key}")


def _made(kind: type[_Made], fields: Mapping[str, Any], file: Path, name: str) -> _Made:
    """CrewAI's object of these fields; raises ConfigError where CrewAI refuses one."""
    try:
        return kind(**fields)
    except ValidationError as error:
        what, where, value, allowed = complaint(error, kind)
    key = f"{name}.{where}" if where else name
    raise ConfigError(what, file=str(file), key=key, value=value, allowed=allowed)


def _names(given: Any, file: Path, key: str) -> list[Any]:
    if not isinstance(given, list):
        raise ConfigError("must be a list of names", file=str(file), key=key)
    return given


def _named(name: Any, known: Mapping[str, Any], noun: str, file: Path, key: str) -> Any:
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"unknown {noun} '{name}'", file=str(file), key=key, value=name, allowed=sorted(known))
    return known[name]


def _routed(plan: RoutingPlan, role: str) -> bool:
    return plan.default is not None or plan.routes(agent=role, task=None)
