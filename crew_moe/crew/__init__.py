"""Routing for CrewAI crews. Names load on first use; all but `routing_schema` and `load_plan` need the `crew` extra,
a `Project` for its first run.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from crew_moe.errors import MissingExtra

if TYPE_CHECKING:
    from crew_moe.crew.config import routing_schema
    from crew_moe.crew.current import one_run
    from crew_moe.crew.factory import AgentFactory
    from crew_moe.crew.kickoff import kick_off
    from crew_moe.crew.plan import load_plan
    from crew_moe.crew.project import Project
    from crew_moe.crew.reporting import CrewReport, report
    from crew_moe.crew.routed_llm import RoutedLLM
    from crew_moe.crew.wiring import attach

__all__ = [
    "AgentFactory",
    "CrewReport",
    "Project",
    "RoutedLLM",
    "attach",
    "kick_off",
    "load_plan",
    "one_run",
    "report",
    "routing_schema",
]

_HOMES: Final = {
    "AgentFactory": "factory",
    "CrewReport": "reporting",
    "Project": "project",
    "RoutedLLM": "routed_llm",
    "attach": "wiring",
    "kick_off": "kickoff",
    "load_plan": "plan",
    "one_run": "current",
    "report": "reporting",
    "routing_schema": "config",
}
_WITHOUT_CREWAI: Final = frozenset({"plan", "config", "project"})


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home not in _WITHOUT_CREWAI and find_spec("crewai") is None:
        raise MissingExtra("crew", "crewai")
    return getattr(import_module(f"{__name__}.{home}"), name)
