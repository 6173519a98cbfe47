"""The list of models, in OpenAI's shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from crew_moe.domain.expert import Expert
from crew_moe.domain.registry import Registry
from crew_moe.service.openai_api.names import EVERYTHING, LOCAL_NAMES, Aim, Offer, aim_of, local_expert, names
from crew_moe.surface.fault import Fault

OWNER: Final = "crew-moe"


def model_list(registry: Registry, offer: Offer = EVERYTHING) -> dict[str, Any]:
    """Every name that may stand in a request. A local one says whether there is an expert behind it."""
    return {"object": "list", "data": [_row(name, registry) for name in names(registry, offer)]}


def one_model(name: str, registry: Registry, offer: Offer = EVERYTHING) -> dict[str, Any] | Fault:
    """One of them, or why nobody goes by this name."""
    aim = aim_of(name, registry, offer)
    return _row(name, registry) if isinstance(aim, Aim) else aim


def _row(name: str, registry: Registry) -> dict[str, Any]:
    expert = registry[name] if name in registry else local_expert(name, registry)
    row = {"id": name, "object": "model", "created": _since(expert), "owned_by": _owner(expert)}
    return {**row, "crew_moe": {"configured": expert is not None}} if name in LOCAL_NAMES else row


def _owner(expert: Expert | None) -> str:
    return OWNER if expert is None else expert.provider


def _since(expert: Expert | None) -> int:
    """When the catalogue's figures were checked last; names of the router's own have no such day."""
    if expert is None:
        return 0
    day = expert.checked_on
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
