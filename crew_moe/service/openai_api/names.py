"""Names of models as clients write them, and what each asks of the router.

auto                        the best expert for the request
auto:fast|baseline|premium  the best of at least this tier
<expert id>                 this expert
moe-auto, moe-expert-<name> the local expert local/<name>, or another one where it is down (seed 003)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crew_moe.domain.expert import Expert, Tier
from crew_moe.domain.registry import Registry
from crew_moe.errors import UnknownExpert
from crew_moe.surface.fault import Fault, fault_of

AUTO: Final = "auto"
LOCAL_NAMES: Final = ("moe-auto", "moe-expert-byt5", "moe-expert-longformer")
"""Those that are listed whether or not there is an expert behind them."""
_LOCAL: Final = "moe-"
_TIERS: Final[Mapping[str, Tier]] = {f"{AUTO}:{tier}": tier for tier in Tier}


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a name asks for, in a RoutingRequest's words; `local` is the local expert that it stands for."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    local: Expert | None = None


def aim_of(name: str, registry: Registry) -> Aim | Fault:
    """What the name asks for, or why nobody goes by it."""
    if name == AUTO:
        return Aim()
    if name in _TIERS:
        return Aim(fields={"tier": _TIERS[name]})
    if registry.takes_chats(name):
        return Aim(fields={"pin": name})
    local = local_expert(name, registry)
    if local is not None:
        return Aim(fields={"pin": local.expert_id}, local=local)
    if name in LOCAL_NAMES:
        return _not_configured(name)
    return fault_of(UnknownExpert(name, tuple(names(registry)), where="model"))


def local_expert(name: str, registry: Registry) -> Expert | None:
    """The local expert that goes by this name; None where the catalogue has none, or has it switched off."""
    found = registry.by_id.get(_expert_id(name))
    return found if found is not None and found.enabled else None


def names(registry: Registry) -> Iterator[str]:
    """Every name, in the order of the list of models."""
    yield AUTO
    yield from _TIERS
    yield from (expert.expert_id for expert in registry if registry.takes_chats(expert.expert_id))
    yield from LOCAL_NAMES


def _expert_id(name: str) -> str:
    """`moe-expert-byt5` is local/byt5, `moe-auto` is local/auto: whoever serves them chooses among its own."""
    return f"local/{name.removeprefix(_LOCAL).removeprefix('expert-')}" if name.startswith(_LOCAL) else ""


def _not_configured(name: str) -> Fault:
    return Fault(
        code="not_configured",
        status=404,
        what=f"there is no local expert behind '{name}'",
        where="model",
        next_step=f"enter {_expert_id(name)} in experts.yaml, or ask for 'auto'",
    )
