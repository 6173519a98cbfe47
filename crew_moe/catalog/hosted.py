"""What a project's local.yaml hosts, as experts of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from crew_moe.catalog.local import FILE, load_local
from crew_moe.catalog.locate import layers
from crew_moe.domain.expert import Capability, Expert, Transport
from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.registry import Registry
from crew_moe.settings import base_url

PREFIX: Final = "local/"
AUTO: Final = f"{PREFIX}auto"
UNMEASURED: Final = 0.30
CHARS_PER_TOKEN: Final = 4
WHOLE_CHATS: Final = frozenset({Capability.TOOLS, Capability.JSON})
"""What only a host can do that takes whole chats."""


def with_hosted(registry: Registry, config: Path | None) -> Registry:
    """The registry, and in it one expert for each that the project's own local.yaml hosts and nobody entered: named
    only, free, of a quality that says no more than that nobody measured it. Those that the file took away are switched
    off, unless another process hosts them; `local/auto` can do what some host can. Raises ConfigError.
    """
    if len(layers(FILE, config)) == 1 or AUTO not in registry:
        return registry
    hosts = load_local(config).hosts
    entered = [_as_hosted(one, hosts) for one in registry]
    new = [name for name in hosts if f"{PREFIX}{name}" not in registry]
    return replace(registry, experts=(*entered, *(_expert(registry[AUTO], hosts[name]) for name in new)))


def _as_hosted(expert: Expert, hosts: Mapping[str, HostSpec]) -> Expert:
    """The expert, as far as it is there."""
    if expert.transport is not Transport.HOSTED or base_url(expert) is not None:
        return expert
    if expert.expert_id != AUTO:
        return expert if expert.provider_model.removeprefix(PREFIX) in hosts else replace(expert, enabled=False)
    chats = not all(spec.kind.has_weights for spec in hosts.values())
    longest = max((spec.max_input_chars for spec in hosts.values()), default=0)
    return replace(
        expert,
        enabled=expert.enabled and bool(hosts),
        capabilities=expert.capabilities if chats else expert.capabilities - WHOLE_CHATS,
        context_window=max(1, min(expert.context_window, longest // CHARS_PER_TOKEN)),
    )


def _expert(auto: Expert, spec: HostSpec) -> Expert:
    name = f"{PREFIX}{spec.name}"
    return replace(
        auto,
        expert_id=name,
        provider_model=name,
        quality=UNMEASURED,
        capabilities=frozenset({Capability.STREAMING}),
        context_window=max(1, spec.max_input_chars // CHARS_PER_TOKEN),
        max_output_tokens=spec.max_output_tokens,
        source=FILE,
        note=f"hosted by the local gate ({spec.kind})",
    )
