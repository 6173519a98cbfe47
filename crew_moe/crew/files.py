"""A crew's two files as they stand, and the placeholders in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crew_moe.catalog.locate import layers
from crew_moe.crew.plan import AGENTS_FILE, TASKS_FILE
from crew_moe.documents import read_mapping
from crew_moe.errors import ConfigError

PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)\}")  # as CrewAI reads them
_AGENT_TEXTS: Final = ("role", "goal", "backstory")
_TASK_TEXTS: Final = ("description", "expected_output", "output_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewFiles:
    """agents.yaml and tasks.yaml of a folder; what stands in an entry is checked when the crew is built."""

    folder: Path
    agents: Mapping[str, Any]
    tasks: Mapping[str, Any]

    @property
    def tasks_file(self) -> str:
        return str(self.folder / TASKS_FILE)

    @property
    def placeholders(self) -> frozenset[str]:
        """Names of everything that is filled in when the crew is run."""
        return self.in_agents | frozenset(_found(self.tasks, _TASK_TEXTS))

    @property
    def in_agents(self) -> frozenset[str]:
        """Those in the texts of agents, which serve several tasks."""
        return frozenset(_found(self.agents, _AGENT_TEXTS))

    @property
    def in_paths(self) -> Mapping[str, tuple[str, ...]]:
        """Those in names of files that tasks write, by task."""
        return {name: tuple(_found({name: entry}, ("output_file",))) for name, entry in self.tasks.items()}


def read_files(folder: Path) -> CrewFiles:
    """The crew of a folder. Raises ConfigError where there is none, or no task in it."""
    layers(TASKS_FILE, folder)  # says so when there is no such folder
    files = CrewFiles(folder=folder, agents=read_mapping(folder / AGENTS_FILE), tasks=read_mapping(folder / TASKS_FILE))
    if not files.tasks:
        raise ConfigError("there is no task in it", file=files.tasks_file)
    return files


def filled(text: str, values: Mapping[str, Any]) -> str:
    """The text with those placeholders replaced that have a value."""
    return PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), text)


def _found(entries: Mapping[str, Any], keys: Iterable[str]) -> Iterable[str]:
    for entry in entries.values():
        if isinstance(entry, Mapping):
            for key in keys:
                yield from PLACEHOLDER.findall(str(entry.get(key, "")))
