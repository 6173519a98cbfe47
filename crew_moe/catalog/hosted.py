"""What a project's local.yaml hosts, as experts of the catalogue."""

from __future__ import annotations

from collections.abc import Collection
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


def with_hosted(registry: Registry, config: Path | None) -> Registry:
    """The registry, and in it one expert for each that the project's own local.yaml hosts and nobody entered: named
    only, free, of a quality that says no more than that nobody measured it. Those that the file took away are switched
    off, unless another process hosts them. Raises ConfigError.
    """
    if len(layers(FILE, config)) == 1 or AUTO not in registry:
        return registry
    hosts = load_local(config).hosts
    entered = [one if _is_there(one, hosts) else replace(one, enabled=False) for one in registry]
    new = [name for name in hosts if f"{PREFIX}{name}" not in registry]
    return replace(registry, experts=(*entered, *(_expert(registry[AUTO], hosts[name]) for name in new)))


def _is_there(expert: Expert, hosts: Collection[str]) -> bool:
    name = expert.provider_model.removeprefix(PREFIX)
    elsewhere = expert.transport is not Transport.HOSTED or base_url(expert) is not None
    return elsewhere or expert.expert_id == AUTO or name in hosts


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
