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

from crew_moe.domain.expert import Expert, Tier, Transport
from crew_moe.domain.registry import Registry
from crew_moe.errors import UnknownExpert
from crew_moe.surface.fault import Fault, fault_of

AUTO: Final = "auto"
LOCAL_NAMES: Final = ("moe-auto", "moe-expert-byt5", "moe-expert-longformer")
"""Those that are listed whether or not there is an expert behind them."""
_LOCAL: Final = "moe-"
_HOSTED: Final = "moe-expert-"
_PREFIX: Final = "local/"
_TIERS: Final[Mapping[str, Tier]] = {f"{AUTO}:{tier}": tier for tier in Tier}


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a name asks for, in a RoutingRequest's words; `local` is the local expert that it stands for."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    local: Expert | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a service answers to: everything, and the router's best stands in for a local expert that is down; or only
    these `hosted` experts (by their ids), and nobody but `instead` stands in.
    """

    hosted: frozenset[str] | None = None
    instead: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.hosted is None

    def of(self, registry: Registry) -> Registry:
        """The experts that go by their ids here."""
        if self.hosted is None:
            return registry
        return Registry(experts=tuple(one for one in registry if one.enabled and one.expert_id in self.hosted))


EVERYTHING: Final = Offer()


def aim_of(name: str, registry: Registry, offer: Offer = EVERYTHING) -> Aim | Fault:
    """What the name asks for, or why nobody goes by it."""
    registry = offer.of(registry)
    if offer.is_whole and name == AUTO:
        return Aim()
    if offer.is_whole and name in _TIERS:
        return Aim(fields={"tier": _TIERS[name]})
    if registry.takes_chats(name):
        return Aim(fields={"pin": name})
    local = local_expert(name, registry)
    if local is not None:
        return Aim(fields={"pin": local.expert_id}, local=local)
    if name in LOCAL_NAMES:
        return _not_configured(name)
    return fault_of(UnknownExpert(name, tuple(names(registry, offer)), where="model"))


def local_expert(name: str, registry: Registry) -> Expert | None:
    """The local expert that goes by this name; None where the catalogue has none, or has it switched off."""
    found = registry.by_id.get(_expert_id(name))
    return found if found is not None and found.enabled else None


def names(registry: Registry, offer: Offer = EVERYTHING) -> Iterator[str]:
    """Every name, in the order of the list of models."""
    registry = offer.of(registry)
    if offer.is_whole:
        yield AUTO
        yield from _TIERS
    yield from (expert.expert_id for expert in registry if registry.takes_chats(expert.expert_id))
    yield from LOCAL_NAMES
    hosted = (one for one in registry if one.enabled and (one.transport is Transport.HOSTED or not offer.is_whole))
    yield from (name for name in map(_local_name, hosted) if name not in LOCAL_NAMES)


def _local_name(expert: Expert) -> str:
    """The seed's name for an expert that the local gate hosts."""
    name = expert.expert_id.removeprefix(_PREFIX)
    return f"{_LOCAL}{name}" if name == AUTO else f"{_HOSTED}{name}"


def _expert_id(name: str) -> str:
    """`moe-expert-byt5` is local/byt5, `moe-auto` is local/auto: whoever serves them chooses among its own."""
    return f"{_PREFIX}{name.removeprefix(_LOCAL).removeprefix('expert-')}" if name.startswith(_LOCAL) else ""


def _not_configured(name: str) -> Fault:
    return Fault(
        code="not_configured",
        status=404,
        what=f"there is no local expert behind '{name}'",
        where="model",
        next_step=f"enter {_expert_id(name)} in experts.yaml, or ask for 'auto'",
    )
