"""What a caller may see of the registry: services that serve one tenant alone are that one's, and an operator's."""

from __future__ import annotations

from crew_moe.auth.caller import Caller
from crew_moe.domain.registry import Registry


def seen(registry: Registry, caller: Caller | None) -> Registry:
    """The registry as this caller may see it; without one, as anybody may."""
    if caller is not None and caller.tenant is None:
        return registry
    return registry.shown_to(None if caller is None else caller.tenant)
