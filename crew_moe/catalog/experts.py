"""experts.yaml -> Registry."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from crew_moe.catalog.expert_schema import (
    DetailsEntry,
    ExpertEntry,
    ExpertsFile,
    LongContextEntry,
    PricesEntry,
    ProviderEntry,
    RateLimitsEntry,
    RatesEntry,
)
from crew_moe.catalog.hosted import with_hosted
from crew_moe.catalog.live_prices import has_live_prices, with_live_prices
from crew_moe.catalog.locate import layers
from crew_moe.catalog.parse import parse_layers
from crew_moe.domain.address import is_web_address
from crew_moe.domain.expert import Expert, Transport
from crew_moe.domain.meter import RateLimits
from crew_moe.domain.price import Details, PriceList, Rates, Step, Tariff
from crew_moe.domain.registry import Registry
from crew_moe.errors import ConfigError

FILE = "experts.yaml"


def load_registry(config: Path | None = None, *, live: bool = False) -> Registry:
    """The packaged catalogue with the experts.yaml of the folder `config` over it, and what its local.yaml hosts.

    `live`: at the prices of this moment, as far as the genai-prices library knows them, where it is installed.
    Raises ConfigError, which names file, key, what is allowed and the closest match.
    """
    files = layers(FILE, config)
    source = str(files[-1])
    parsed = parse_layers(files, ExpertsFile)
    experts = {}
    for expert_id, entry in parsed.experts.items():
        provider = parsed.providers.get(entry.provider)
        if provider is None:
            raise ConfigError(
                f"unknown provider '{entry.provider}'",
                file=source,
                key=f"experts.{expert_id}.provider",
                value=entry.provider,
                allowed=sorted(parsed.providers),
            )
        experts[expert_id] = _expert(expert_id, entry, provider)
    _check_urls(experts, source)
    _check_fallbacks(experts, source)
    registry = with_hosted(Registry(experts=tuple(experts.values())), config)
    return with_live_prices(registry) if live and has_live_prices() else registry


def _expert(expert_id: str, entry: ExpertEntry, provider: ProviderEntry) -> Expert:
    def inherited(field: str) -> Any:
        own = getattr(entry, field)
        return getattr(provider, field) if own is None else own

    return Expert(
        expert_id=expert_id,
        provider=entry.provider,
        provider_model=entry.provider_model,
        tier=entry.tier,
        quality=entry.quality,
        input_usd_per_mtok=entry.input_usd_per_mtok,
        output_usd_per_mtok=entry.output_usd_per_mtok,
        context_window=entry.context_window,
        max_output_tokens=entry.max_output_tokens,
        latency_p50_ms=entry.latency_p50_ms,
        capabilities=frozenset(entry.capabilities),
        regions=frozenset(inherited("regions")),
        moderated=inherited("moderated"),
        enabled=entry.enabled,
        status=entry.status,
        transport=inherited("transport"),
        base_url=inherited("base_url"),
        base_url_env=inherited("base_url_env"),
        api_key_env=inherited("api_key_env"),
        parameters=frozenset(inherited("parameters")),
        fallback=entry.fallback,
        reliability=entry.reliability,
        named_only=entry.named_only,
        source=entry.source,
        checked_on=entry.checked_on,
        note=entry.note,
        prices=_prices(entry),
        limits=_limits(provider.limits, entry.limits),
    )


def _prices(entry: ExpertEntry) -> PriceList:
    told = entry.prices or PricesEntry()
    long_context = () if told.long_context is None else (_step(told.long_context),)
    batch = None if told.batch is None else Tariff(rates=_rates(told.batch, told.batch))
    if told.batch_discount is not None:
        whole = Tariff(rates=_rates(entry, told), steps=long_context)
        batch = whole.discounted(Decimal(str(told.batch_discount)))
    return PriceList(details=_details(told), long_context=long_context, batch=batch)


def _step(entry: LongContextEntry) -> Step:
    return Step(above_tokens=entry.above_tokens, rates=_rates(entry, entry))


def _rates(entry: ExpertEntry | RatesEntry, details: DetailsEntry) -> Rates:
    return Rates(
        input_usd_per_mtok=entry.input_usd_per_mtok,
        output_usd_per_mtok=entry.output_usd_per_mtok,
        details=_details(details),
    )


def _details(entry: DetailsEntry) -> Details:
    return Details(**{one.name: getattr(entry, one.name) for one in fields(Details)})


def _limits(*entries: RateLimitsEntry) -> RateLimits:
    """The limits of several entries, name by name; a later one goes before."""
    named: dict[str, Any] = {}
    for entry in entries:
        named |= entry.model_dump(exclude_none=True)
    return RateLimits(**named)


def _check_urls(experts: dict[str, Expert], file: str) -> None:
    for expert in experts.values():
        key = f"experts.{expert.expert_id}.base_url"
        if expert.transport is Transport.OPENAI and not (expert.base_url or expert.base_url_env):
            raise ConfigError("an expert reached over HTTP needs a base_url or a base_url_env", file=file, key=key)
        if expert.base_url and not is_web_address(expert.base_url):  # not shown: it may hold a password
            raise ConfigError("is no address that begins with http:// or https://", file=file, key=key)


def _check_fallbacks(experts: dict[str, Expert], file: str) -> None:
    """Every `fallback` names a known expert, and following them never comes back."""
    for expert_id in experts:
        trail = [expert_id]
        following = experts[expert_id].fallback
        while following is not None:
            key = f"experts.{trail[-1]}.fallback"
            if following not in experts:
                raise ConfigError(
                    f"unknown expert '{following}'", file=file, key=key, value=following, allowed=sorted(experts)
                )
            if following in trail:
                raise ConfigError("fallbacks go in a circle: " + " -> ".join([*trail, following]), file=file, key=key)
            trail.append(following)
            following = experts[following].fallback
