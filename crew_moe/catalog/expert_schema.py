"""What experts.yaml may hold, as pydantic models, from which editors get their JSON Schema."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator

from crew_moe.catalog.schema import Count, Entry, Positive
from crew_moe.domain.expert import Capability, Parameter, Status, Tier, Transport
from crew_moe.domain.meter import MAX_PLACES
from crew_moe.domain.request import Name, Unit, Usd

Sentence = Annotated[str, Field(min_length=1, max_length=2000)]
# The name of a variable, so that a key which somebody wrote there by mistake is refused and shown nowhere.
VariableName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=100)]


class RateLimitsEntry(Entry):
    """What a provider lets pass each minute and at once; as much of everything as it does not name."""

    requests_per_minute: Positive | None = None
    input_tokens_per_minute: Positive | None = None
    output_tokens_per_minute: Positive | None = None
    concurrent: Annotated[int, Field(ge=1, le=MAX_PLACES)] | None = None


class DetailsEntry(Entry):
    """Prices of tokens that cost something else than the rest of the input or output."""

    cached_input_usd_per_mtok: Usd | None = None
    cache_write_usd_per_mtok: Usd | None = None
    input_audio_usd_per_mtok: Usd | None = None
    input_image_usd_per_mtok: Usd | None = None
    reasoning_usd_per_mtok: Usd | None = None
    output_audio_usd_per_mtok: Usd | None = None


class RatesEntry(DetailsEntry):
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd


class LongContextEntry(RatesEntry):
    """What the whole call costs whose input is longer than `above_tokens`."""

    above_tokens: Count


class PricesEntry(DetailsEntry):
    """What an expert charges beside input and output. A batch has a discount on everything, or prices of its own."""

    long_context: LongContextEntry | None = None
    batch_discount: Unit | None = None
    batch: RatesEntry | None = None

    @model_validator(mode="after")
    def _one_batch(self) -> Self:
        if self.batch_discount is not None and self.batch is not None:
            raise ValueError("a batch has either a discount or prices of its own")
        return self


class ProviderEntry(Entry):
    """Defaults for all experts of one provider. Its `limits` hold for each of them by itself."""

    base_url: str | None = None
    base_url_env: VariableName | None = None
    api_key_env: VariableName | None = None
    regions: list[Name] = Field(default=[])
    moderated: bool = False
    parameters: list[Parameter] = Field(default=list(Parameter))
    transport: Transport = Transport.OPENAI
    limits: RateLimitsEntry = RateLimitsEntry()


class ExpertEntry(Entry):
    """One expert; what it leaves out comes from its provider."""

    provider: Name
    provider_model: Name
    tier: Tier
    quality: Unit
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    context_window: Count
    max_output_tokens: Count
    latency_p50_ms: Positive
    capabilities: list[Capability]
    source: Sentence
    checked_on: date
    enabled: bool = True
    status: Status = Status.ACTIVE
    base_url: str | None = None
    base_url_env: VariableName | None = None
    api_key_env: VariableName | None = None
    regions: list[Name] | None = None
    moderated: bool | None = None
    parameters: list[Parameter] | None = None
    transport: Transport | None = None
    fallback: Name | None = None
    reliability: Unit = 0.9
    named_only: bool = False
    note: str = ""
    prices: PricesEntry | None = None
    limits: RateLimitsEntry = RateLimitsEntry()


class ExpertsFile(Entry):
    """experts.yaml."""

    providers: dict[str, ProviderEntry]
    experts: dict[str, ExpertEntry]
