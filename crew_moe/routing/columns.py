"""The registry as columns: one array per figure, so that all experts are judged by one operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from crew_moe.domain.expert import Status, capability_bits
from crew_moe.domain.money import NANO_PER_TOKEN_AT_1_USD_PER_MTOK
from crew_moe.domain.registry import Registry
from crew_moe.domain.service import Service

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Figures of all experts in registry order; every array is (experts,). Prices in nano-USD per token.

    `chat` are those that take chats, `shared` those that serve every tenant, `owned` those that serve one alone, by
    its name. Where that is everyone it is `everyone` itself.
    """

    digest: str
    ids: tuple[str, ...]
    index: Mapping[str, int]
    everyone: Bools
    providers: tuple[str, ...]
    fallbacks: tuple[str | None, ...]
    regions: tuple[frozenset[str], ...]
    quality: Floats
    input_nano: Floats
    output_nano: Floats
    window: Floats
    latency_ms: Floats
    reliability: Floats
    tier: Ints
    capabilities: Ints
    enabled: Bools
    retired: Bools
    moderated: Bools
    local: Bools
    named_only: Bools
    chat: Bools
    shared: Bools
    owned: Mapping[str, Bools]

    def only(self, *expert_ids: str) -> Bools:
        """Mask of the named experts."""
        mask = np.zeros(len(self.ids), dtype=np.bool_)
        for expert_id in expert_ids:
            position = self.index.get(expert_id)
            if position is not None:
                mask[position] = True
        return mask

    def of_providers(self, shares: Mapping[str, float]) -> Floats:
        """Each expert's provider's figure, 0 where there is none."""
        if not shares:
            return np.zeros(len(self.ids))
        return np.array([shares.get(provider, 0.0) for provider in self.providers])


def columns_of(registry: Registry) -> Columns:
    """Lay the registry out as columns."""
    experts = registry.experts
    everyone = np.ones(len(experts), dtype=np.bool_)
    tenants = sorted({one.tenant for one in registry.services if one.tenant is not None})
    scale = NANO_PER_TOKEN_AT_1_USD_PER_MTOK

    def floats(values: list[float]) -> Floats:
        return np.array(values, dtype=np.float64)

    def bools(values: list[bool]) -> Bools:
        return np.array(values, dtype=np.bool_)

    def but(keeps_out: Callable[[Service], bool]) -> Bools:
        out = {one.service_id for one in registry.services if keeps_out(one)}
        return bools([expert.expert_id not in out for expert in experts]) if out else everyone

    return Columns(
        digest=registry.digest,
        ids=tuple(expert.expert_id for expert in experts),
        index={expert.expert_id: position for position, expert in enumerate(experts)},
        everyone=everyone,
        providers=tuple(expert.provider for expert in experts),
        fallbacks=tuple(expert.fallback for expert in experts),
        regions=tuple(expert.regions for expert in experts),
        quality=floats([expert.quality for expert in experts]),
        input_nano=floats([float(expert.input_usd_per_mtok * scale) for expert in experts]),
        output_nano=floats([float(expert.output_usd_per_mtok * scale) for expert in experts]),
        window=floats([expert.context_window for expert in experts]),
        latency_ms=floats([expert.latency_p50_ms for expert in experts]),
        reliability=floats([expert.reliability for expert in experts]),
        tier=np.array([expert.tier.rank for expert in experts], dtype=np.int64),
        capabilities=np.array([capability_bits(expert.capabilities) for expert in experts], dtype=np.int64),
        enabled=bools([expert.enabled for expert in experts]),
        retired=bools([expert.status is Status.RETIRED for expert in experts]),
        moderated=bools([expert.moderated for expert in experts]),
        local=bools([expert.is_local for expert in experts]),
        named_only=bools([expert.named_only for expert in experts]),
        chat=but(lambda one: not one.is_chat),
        shared=but(lambda one: one.tenant is not None),
        owned={tenant: ~but(partial(_serves_alone, tenant=tenant)) for tenant in tenants},
    )


def _serves_alone(service: Service, tenant: str) -> bool:
    return service.tenant == tenant
