"""crew-moe: every task of a CrewAI crew on the right expert, inside its budget, with the reason on record.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crew_moe.domain.decision import Decision, Infeasible
    from crew_moe.domain.outcome import Completion, Feedback, Outcome
    from crew_moe.domain.policy import Policy
    from crew_moe.domain.principal import Principal
    from crew_moe.domain.registry import Registry
    from crew_moe.domain.request import Parallel, RoutingRequest
    from crew_moe.errors import CrewMoEError, ExecutionFailed, InvalidInput, RefusedError
    from crew_moe.explanation import Explanation
    from crew_moe.router import Router

_HOMES = {
    "Completion": "crew_moe.domain.outcome",
    "CrewMoEError": "crew_moe.errors",
    "Decision": "crew_moe.domain.decision",
    "ExecutionFailed": "crew_moe.errors",
    "Explanation": "crew_moe.explanation",
    "Feedback": "crew_moe.domain.outcome",
    "Infeasible": "crew_moe.domain.decision",
    "InvalidInput": "crew_moe.errors",
    "Outcome": "crew_moe.domain.outcome",
    "Parallel": "crew_moe.domain.request",
    "Policy": "crew_moe.domain.policy",
    "Principal": "crew_moe.domain.principal",
    "RefusedError": "crew_moe.errors",
    "Registry": "crew_moe.domain.registry",
    "Router": "crew_moe.router",
    "RoutingRequest": "crew_moe.domain.request",
}

__all__ = [
    "Completion",
    "CrewMoEError",
    "Decision",
    "ExecutionFailed",
    "Explanation",
    "Feedback",
    "Infeasible",
    "InvalidInput",
    "Outcome",
    "Parallel",
    "Policy",
    "Principal",
    "RefusedError",
    "Registry",
    "Router",
    "RoutingRequest",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'crew_moe' has no attribute '{name}'")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
