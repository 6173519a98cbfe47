"""The routing of a whole crew: every `routing:` block of its files, in layers.

Lowest to highest: the sidecar's `default`, agents.yaml, tasks.yaml, the sidecar's `agents`, the sidecar's `tasks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from crew_moe.catalog.parse import merge
from crew_moe.crew.config import DataRules, RoutingBlock, check_names, parse_block
from crew_moe.documents import read_mapping
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.errors import ConfigError

AGENTS_FILE: Final = "agents.yaml"
TASKS_FILE: Final = "tasks.yaml"
SIDECAR_FILES: Final = ("routing.yaml", "routing.yml", "routing.json")
_SIDECAR_KEYS: Final = frozenset({"agents", "tasks", "default"})

Block = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One block with the place it came from, for errors."""

    block: Block
    file: str
    key: str


@dataclass(frozen=True, kw_only=True)
class RoutingPlan:
    """Blocks by layer and name; `roles` maps an agent's role to its key in agents.yaml."""

    default: Source | None = None
    agents: Mapping[str, Source] = field(default_factory=dict)
    tasks: Mapping[str, Source] = field(default_factory=dict)
    over_agents: Mapping[str, Source] = field(default_factory=dict)
    over_tasks: Mapping[str, Source] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    known_tasks: frozenset[str] = frozenset()

    def block(self, *, agent: str | None = None, task: str | None = None) -> RoutingBlock:
        """The effective block for this agent (key or role) at this task.

        Raises ConfigError when the layers together put the ceiling `max_tier` below the wanted `tier`.
        """
        merged: dict[str, Any] = {}
        layers = tuple(self._layers(agent, task))
        for source in layers:
            merged = merge(merged, source.block)
        block = RoutingBlock.model_validate(merged)
        _check_ceiling(block, layers)
        return block

    def routes(self, *, agent: str | None, task: str | None) -> bool:
        """Whether a file routes this agent or this task by name; if none does, the agent's own `llm:` goes first."""
        name, task = self.agent_key(agent), task or ""
        return name in self.agents or name in self.over_agents or task in self.tasks or task in self.over_tasks

    def shared_block(self, seat: str) -> RoutingBlock:
        """The block of a seat that all tasks share (memory, planning): it obeys the strictest `data` of any of them.

        Raises ConfigError when tasks name different residencies and the seat's own block does not settle it.
        """
        block = self.block(agent=seat)
        rules = [source.block.get("data", {}) for source in self._sources()]
        local = any(rule.get("pii") == "local_only" for rule in rules)
        places = {rule["residency"] for rule in rules if rule.get("residency")}
        residency = block.data.residency or (places.pop() if len(places) == 1 else None)
        if residency is None and places:
            file = self._sources()[0].file
            raise ConfigError(
                f"tasks name different residencies, say which one holds for '{seat}'",
                file=file,
                key=f"agents.{seat}.data.residency",
                allowed=sorted(places),
            )
        data = DataRules(residency=residency, pii="local_only" if local else "allow")
        return block.model_copy(update={"data": data})

    def agent_key(self, agent: str | None) -> str:
        """The name by which files know an agent: its key in agents.yaml, else its role."""
        return self.roles.get((agent or "").strip(), (agent or "").strip())

    def _layers(self, agent: str | None, task: str | None) -> Iterable[Source]:
        name = self.agent_key(agent)
        found = (
            self.default,
            self.agents.get(name),
            self.tasks.get(task or ""),
            self.over_agents.get(name),
            self.over_tasks.get(task or ""),
        )
        return (source for source in found if source is not None)

    def check(self, registry: Registry, policy: Policy) -> None:
        """Raise ConfigError for a name in any block that the catalogue or the policy does not hold."""
        for source in self._sources():
            check_names(source.block, registry, policy, file=source.file, key=source.key)

    def check_agents(self, names: Iterable[str]) -> None:
        """Raise ConfigError for a sidecar block of an agent that neither the crew (by `names`) nor agents.yaml has."""
        known = {*self.roles.values(), *map(self.agent_key, names)}
        for name, source in self.over_agents.items():
            if name not in known:
                raise ConfigError(
                    f"unknown agent '{name}'", file=source.file, key=source.key, value=name, allowed=sorted(known)
                )

    def check_tasks(self, names: Iterable[str | None]) -> None:
        """Raise ConfigError for blocks that no task of the crew can take; None is a task without a name.

        These are a sidecar's block for a task that nobody has, a block beside a task whose name is missing, and
        files whose tasks are all called otherwise than the crew's.
        """
        given = list(names)
        named = {name for name in given if name}
        self._check_over_tasks(named)
        missed = {name: source for name, source in {**self.tasks, **self.over_tasks}.items() if name not in named}
        strangers = bool(given) and named.isdisjoint(self.known_tasks | self.over_tasks.keys())
        if missed and (strangers or None in given):
            name, source = next(iter(missed.items()))
            raise ConfigError(
                f"no task of the crew has this name: give it to one, as Task(name='{name}')",
                file=source.file,
                key=source.key,
                allowed=sorted(named),
            )

    def _check_over_tasks(self, names: Set[str]) -> None:
        known = self.known_tasks | names
        for name, source in self.over_tasks.items():
            if name not in known:
                raise ConfigError(
                    f"unknown task '{name}'", file=source.file, key=source.key, value=name, allowed=sorted(known)
                )

    def _sources(self) -> Sequence[Source]:
        layers = (self.agents, self.tasks, self.over_agents, self.over_tasks)
        named = [source for layer in layers for source in layer.values()]
        return named if self.default is None else [self.default, *named]


def _check_ceiling(block: RoutingBlock, layers: Sequence[Source]) -> None:
    """Layers may each be right and contradict one another; the highest that speaks of tiers is named."""
    if block.tier is None or block.max_tier is None or block.max_tier.rank >= block.tier.rank:
        return
    key, source = next(
        (key, source) for source in reversed(layers) for key in ("max_tier", "tier") if source.block.get(key)
    )
    raise ConfigError(
        f"the ceiling '{block.max_tier}' lies below the tier '{block.tier}'",
        file=source.file,
        key=f"{source.key}.{key}",
    )


def load_plan(path: Path | str | None) -> RoutingPlan:
    """Read the routing of a crew from tasks.yaml, a sidecar or a folder; None is the empty plan.

    Beside tasks.yaml, agents.yaml and a sidecar of the same folder are read too; beside a sidecar, the two files of
    its folder or of `config` in it, where crewAI's template puts them. Raises ConfigError or NotAvailable.
    """
    if path is None:
        return RoutingPlan()
    path = Path(path)
    if path.is_dir():
        home = _home(path)
        return _from_files(home / AGENTS_FILE, home / TASKS_FILE, _sidecar_in(path) or _sidecar_in(home))
    document = read_mapping(path)
    if _is_sidecar(path, document):
        home = _home(path.parent)
        return _from_files(home / AGENTS_FILE, home / TASKS_FILE, path)
    return _from_files(path.parent / AGENTS_FILE, path, _sidecar_in(path.parent))


def _home(folder: Path) -> Path:
    """Where the crew's own files are: in this folder or, when it has none of them, in `config` below it."""
    below = folder / "config"
    here, there = (any((place / name).is_file() for name in (AGENTS_FILE, TASKS_FILE)) for place in (folder, below))
    return below if there and not here else folder


def _from_files(agents: Path, tasks: Path, sidecar: Path | None) -> RoutingPlan:
    if sidecar is None and not agents.is_file() and not tasks.is_file():
        raise ConfigError("no agents.yaml, tasks.yaml or routing.yaml here", file=str(tasks.parent))
    agent_entries = read_mapping(agents) if agents.is_file() else {}
    task_entries = read_mapping(tasks) if tasks.is_file() else {}
    over = _sidecar(sidecar) if sidecar is not None else {}
    return RoutingPlan(
        default=_default(over.get("default"), sidecar),
        agents=_routed_entries(agent_entries, agents),
        tasks=_routed_entries(task_entries, tasks),
        over_agents=_over(over, "agents", sidecar),
        over_tasks=_over(over, "tasks", sidecar),
        roles=_roles(agent_entries),
        known_tasks=frozenset(task_entries),
    )


def _routed_entries(entries: Mapping[str, Any], file: Path) -> dict[str, Source]:
    """The blocks that stand under `routing` in the entries of agents.yaml or tasks.yaml."""
    found = {}
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            raise ConfigError("an entry must be a mapping", file=str(file), key=name)
        if "routing" in entry:
            key = f"{name}.routing"
            found[name] = Source(block=parse_block(entry["routing"], file=str(file), key=key), file=str(file), key=key)
    return found


def _sidecar(file: Path) -> dict[str, Any]:
    document = read_mapping(file)
    for key in document:
        if key not in _SIDECAR_KEYS:
            raise ConfigError(f"unknown key '{key}'", file=str(file), value=key, allowed=sorted(_SIDECAR_KEYS))
    return document


def _over(document: Mapping[str, Any], layer: str, file: Path | None) -> dict[str, Source]:
    entries = document.get(layer) or {}
    if not isinstance(entries, Mapping):
        raise ConfigError("must be a mapping of names to routing blocks", file=str(file), key=layer)
    found = {}
    for name, raw in entries.items():
        key = f"{layer}.{name}"
        found[str(name)] = Source(block=parse_block(raw, file=str(file), key=key), file=str(file), key=key)
    return found


def _default(raw: object, file: Path | None) -> Source | None:
    if raw is None:
        return None
    return Source(block=parse_block(raw, file=str(file), key="default"), file=str(file), key="default")


def _roles(entries: Mapping[str, Any]) -> dict[str, str]:
    return {str(entry.get("role", "")).strip(): name for name, entry in entries.items() if isinstance(entry, Mapping)}


def _is_sidecar(path: Path, document: Mapping[str, Any]) -> bool:
    """By name, or by content: the three sidecar keys and no task of its own."""
    if path.name in SIDECAR_FILES:
        return True
    tasks = any(isinstance(entry, Mapping) and "description" in entry for entry in document.values())
    return bool(document) and set(document) <= _SIDECAR_KEYS and not tasks


def _sidecar_in(folder: Path) -> Path | None:
    return next((folder / name for name in SIDECAR_FILES if (folder / name).is_file()), None)
