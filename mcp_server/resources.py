"""What can be read without a tool: the catalogue, the policy, and one expert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import wraps
from typing import Any, Final, ParamSpec

from fastmcp import FastMCP
from fastmcp.exceptions import ResourceError
from fastmcp.resources import ResourceContent, ResourceResult
from fastmcp.server.auth import require_scopes
from pydantic_core import to_json

from crew_moe.auth.caller import AccessScope
from crew_moe.domain.expert import Expert
from crew_moe.errors import CrewMoEError
from crew_moe.surface.fault import fault_of
from crew_moe.surface.operations import Operations
from crew_moe.surface.sight import seen
from mcp_server.auth import current_caller

JSON: Final = "application/json"
SCOPE: Final = AccessScope.READ
# Where an expert is reached is nobody's business but the router's.
_PRIVATE: Final = frozenset({"base_url", "base_url_env", "api_key_env"})
P = ParamSpec("P")


def add_resources(server: FastMCP[Any], operations: Operations, *, guarded: bool) -> None:
    """Register the resources; callers need the scope to read where they are `guarded`."""
    router = operations.router
    terms: dict[str, Any] = {"mime_type": JSON, "auth": require_scopes(SCOPE.value) if guarded else None}

    @server.resource("router://registry", name="registry", title="Catalogue of experts", **terms)
    @_told
    def registry() -> Any:
        """Every expert with its prices, windows and capabilities, and the digest that names this set."""
        shown = seen(router.registry, current_caller())
        return {"digest": shown.digest, "experts": [_public(expert) for expert in shown]}

    @server.resource("router://policy", name="policy", title="Routing policy", **terms)
    @_told
    def policy() -> Any:
        """The policy in force: strategy, weights, thresholds, preferences, limits."""
        return asdict(router.policy)

    # The id is looked up among the experts and used for nothing else: `..%2f` is an id that nobody has.
    @server.resource("router://experts/{expert_id}", name="expert", title="One expert", **terms)
    @_told
    def expert(expert_id: str) -> Any:
        """One expert of the catalogue, and how it does."""
        caller = current_caller()
        found = seen(router.registry, caller)[expert_id]
        return {"expert": _public(found), "health": operations.health(expert_id, caller=caller)[0].as_dict()}


def _told(read: Callable[P, Any]) -> Callable[P, ResourceResult]:
    """What is read, as JSON; what goes wrong, as a fault."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> ResourceResult:
        try:
            text = to_json(_plain(read(*args, **kwargs)), indent=2).decode()
        except CrewMoEError as error:
            fault = fault_of(error)
        else:
            return ResourceResult([ResourceContent(text, mime_type=JSON)])
        raise ResourceError(str(fault))

    return reading


def _public(expert: Expert) -> dict[str, Any]:
    return {name: value for name, value in asdict(expert).items() if name not in _PRIVATE}


def _plain(value: Any) -> Any:
    """As JSON knows it; sets in an order that stays."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    return value if isinstance(value, bool | int | float | None) else str(value)
