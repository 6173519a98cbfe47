"""The catalogue as callers look through it: what each expert is, its prices, how it does, whether it is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from crew_moe.domain.expert import Capability, Expert, Tier
from crew_moe.domain.registry import Registry
from crew_moe.errors import InvalidRequest
from crew_moe.routing.reports import ExpertHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertRow:
    """One expert: prices in US$ per million tokens, windows in tokens, latency in ms, rates and quality in [0, 1]."""

    expert_id: str
    provider: str
    tier: str
    status: str
    available: bool
    reason: str
    capabilities: tuple[str, ...]
    regions: tuple[str, ...]
    moderated: bool
    context_window: int
    max_output_tokens: int
    input_usd_per_mtok: str
    output_usd_per_mtok: str
    quality: float
    latency_ms: float
    success_rate: float | None
    breaker: str

    def as_dict(self, only: Sequence[str] = ()) -> dict[str, Any]:
        """JSON-ready; `only` these fields and the id, or all."""
        row = asdict(self)
        return {name: row[name] for name in row if name == "expert_id" or name in only} if only else row


FIELDS = tuple(field.name for field in fields(ExpertRow))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What rows of a list must be; None and empty: anything."""

    tier: Tier | None = None
    provider: str | None = None
    capabilities: frozenset[Capability] = frozenset()
    available: bool | None = None

    def fits(self, expert: Expert, health: ExpertHealth) -> bool:
        return (
            self.tier in (None, expert.tier)
            and self.provider in (None, expert.provider)
            and self.capabilities <= expert.capabilities
            and self.available in (None, health.available)
        )


def checked_fields(names: Sequence[str]) -> tuple[str, ...]:
    """Names of fields of a row. Raises InvalidRequest for one that there is not."""
    for name in names:
        if name not in FIELDS:
            raise InvalidRequest(f"unknown field '{name[:60]}'", where="fields", value=name, allowed=FIELDS)
    return tuple(names)


def expert_rows(registry: Registry, health: Sequence[ExpertHealth], wanted: Wanted) -> Iterator[ExpertRow]:
    """The experts that are wanted, in the order of their ids."""
    for row in health:
        expert = registry[row.expert_id]
        if wanted.fits(expert, row):
            yield _row(expert, row)


def _row(expert: Expert, health: ExpertHealth) -> ExpertRow:
    return ExpertRow(
        expert_id=expert.expert_id,
        provider=expert.provider,
        tier=expert.tier,
        status=expert.status,
        available=health.available,
        reason=health.reason,
        capabilities=tuple(sorted(expert.capabilities)),
        regions=tuple(sorted(expert.regions)),
        moderated=expert.moderated,
        context_window=expert.context_window,
        max_output_tokens=expert.max_output_tokens,
        input_usd_per_mtok=f"{expert.input_usd_per_mtok:f}",
        output_usd_per_mtok=f"{expert.output_usd_per_mtok:f}",
        quality=health.quality,
        latency_ms=health.latency_ms,
        success_rate=health.success_rate,
        breaker=health.breaker,
    )
