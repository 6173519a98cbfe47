"""Which tools a server offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crew_moe.errors import InvalidInput
from mcp_server.tools import TOOLS, ToolRow, Toolset

if TYPE_CHECKING:
    from crew_moe.crew.project import Project
    from crew_moe.router import Router
    from crew_moe.settings import Settings

DEFAULT_TOOLSETS: Final = frozenset(Toolset) - {Toolset.CREW}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """`writes`: those too that change something. A crew can be run only where its toolset is named and there is a
    project.
    """

    writes: bool = False
    toolsets: frozenset[Toolset] = DEFAULT_TOOLSETS
    project: Project | None = None

    def rows(self) -> Iterator[ToolRow]:
        """The tools that are switched on, in the order of the table."""
        for row in TOOLS:
            ready = row.toolset is not Toolset.CREW or self.project is not None
            if row.toolset in self.toolsets and (self.writes or row.effect.read_only) and ready:
                yield row


READ_ONLY: Final = Exposure()


def exposure_of(settings: Settings, router: Router) -> Exposure:
    """What the options and the environment ask for. Raises InvalidInput where they ask for too much or too little."""
    toolsets = _toolsets(settings)
    project = _project(settings, router) if Toolset.CREW in toolsets else None
    return Exposure(writes=settings.mcp_enable_writes, toolsets=toolsets, project=project)


def words(listed: str) -> tuple[str, ...]:
    """The words of a comma-separated list."""
    return tuple(word.strip() for word in listed.split(",") if word.strip())


def _toolsets(settings: Settings) -> frozenset[Toolset]:
    names = words(settings.mcp_toolsets)
    for name in names:
        if name not in set(Toolset):
            raise InvalidInput(f"'{name}' is no toolset", where="--toolsets", value=name, allowed=tuple(Toolset))
    return frozenset(map(Toolset, names)) or DEFAULT_TOOLSETS


def _project(settings: Settings, router: Router) -> Project:
    from crew_moe.crew.project import Project

    if not settings.mcp_enable_writes:
        raise InvalidInput("to run a crew changes something", where="--toolsets crew", allowed=("--enable-writes",))
    if settings.mcp_project is None:
        raise InvalidInput("which crew may be run is not said", where="--toolsets crew", allowed=("--project DIR",))
    return Project(router, settings.mcp_project)
