"""A registered service: an expert that joined while the router runs, reached where it said that it is (seed 004)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import Field

from crew_moe.domain.entry import Entry
from crew_moe.domain.expert import SERVICE, Capability, Expert, Parameter, Status, Tier, Transport
from crew_moe.domain.meter import MAX_PLACES, RateLimits
from crew_moe.domain.request import MaxTokens, Milliseconds, Name, Unit, Usd, Whole
from crew_moe.domain.word import Word

MAX_WEIGHT: Final = 1_000_000.0
RELIABILITY: Final = 0.95
"""The success rate that is assumed of a service until there is a record."""
# What a chat endpoint that nobody described is sure to take.
_PARAMETERS: Final = frozenset({Parameter.TEMPERATURE, Parameter.STOP, Parameter.SYSTEM})
_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_WORD: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"

ServiceId = Annotated[str, Field(pattern=_ID)]
ServiceWord = Annotated[str, Field(pattern=_WORD)]
Address = Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=2000)]


class Protocol(Word):
    """What a service speaks: chat completions below its endpoint, or JSON that is POSTed to the endpoint itself."""

    OPENAI = "openai"
    JSON = "json"


class Registration(Entry):
    """What somebody says of a service that is to be routed to. Raises InvalidRequest.

    `max_capacity` is how many calls it takes at once. `quality`, `latency_ms` and the prices are what is assumed until
    there is a record; `model` is what a chat endpoint is asked for (its id, where nothing is said). `capabilities` are
    free words; those among them that the catalogue knows count for chats too. Without a `tenant` it serves all.
    """

    service_id: ServiceId
    service_type: ServiceWord
    endpoint: Address
    capabilities: Annotated[frozenset[ServiceWord], Field(max_length=32)] = frozenset()
    max_capacity: Annotated[int, Field(ge=1, le=MAX_PLACES, strict=True), Whole] = 100
    health_url: Address | None = None
    protocol: Protocol = Protocol.JSON
    tenant: Name | None = None
    weight: Annotated[float, Field(gt=0.0, le=MAX_WEIGHT, allow_inf_nan=False, strict=True)] = 1.0
    model: Name | None = None
    tier: Tier = Tier.FAST
    quality: Unit = 0.5
    latency_ms: Milliseconds = 1000.0
    context_window: MaxTokens = 32_768
    max_output_tokens: MaxTokens = 4_096
    regions: Annotated[frozenset[Name], Field(max_length=32)] = frozenset()
    input_usd_per_mtok: Usd = Decimal(0)
    output_usd_per_mtok: Usd = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A registration that was accepted: by whom, and when. `weight` is its part in routing; rebalancing moves it."""

    service_id: str
    service_type: str
    endpoint: str
    capabilities: frozenset[str]
    max_capacity: int
    health_url: str | None
    protocol: Protocol
    tenant: str | None
    weight: float
    model: str
    tier: Tier
    quality: float
    latency_ms: float
    context_window: int
    max_output_tokens: int
    regions: frozenset[str]
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    registered_at: datetime
    registered_by: str

    @property
    def provider(self) -> str:
        """It is a provider of its own: what breaks there breaks nobody else."""
        return f"{SERVICE}{self.service_id}"

    @property
    def is_chat(self) -> bool:
        """Whether chats may go there; what speaks plain JSON is routed to by its type alone."""
        return self.protocol is Protocol.OPENAI

    def serves(self, tenant: str | None) -> bool:
        """Whether requests of this tenant may go there."""
        return self.tenant in (None, tenant)

    def fits(self, wanted: str, capabilities: Iterable[str] = ()) -> bool:
        """Whether it is what a request of type `wanted` asks for: by its own type, or by a capability of that name."""
        return (wanted == self.service_type or wanted in self.capabilities) and self.capabilities.issuperset(
            capabilities
        )

    def as_expert(self) -> Expert:
        """The service as the router sees it."""
        return Expert(
            expert_id=self.service_id,
            provider=self.provider,
            provider_model=self.model,
            tier=self.tier,
            quality=self.quality,
            input_usd_per_mtok=self.input_usd_per_mtok,
            output_usd_per_mtok=self.output_usd_per_mtok,
            context_window=self.context_window,
            max_output_tokens=self.max_output_tokens,
            latency_p50_ms=self.latency_ms,
            capabilities=frozenset(word for word in Capability if word in self.capabilities),
            regions=self.regions,
            moderated=False,
            enabled=True,
            status=Status.ACTIVE,
            transport=Transport.OPENAI,
            base_url=self.endpoint,
            base_url_env=None,
            api_key_env=None,
            parameters=_PARAMETERS,
            fallback=None,
            reliability=RELIABILITY,
            named_only=False,
            source="registered",
            checked_on=self.registered_at.date(),
            limits=RateLimits(concurrent=self.max_capacity),
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; Decimals as strings, sets as sorted lists."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}


def accepted(entry: Registration, *, at: datetime, by: str) -> Service:
    """The service that `entry` describes."""
    told = {name: getattr(entry, name) for name in Registration.model_fields}
    return Service(**{**told, "model": entry.model or entry.service_id}, registered_at=at, registered_by=by)


def service_from(row: Mapping[str, Any]) -> Service:
    """The service of a row that `as_dict` made. Raises KeyError, TypeError and ValueError for anything else."""
    return Service(
        **{
            **row,
            "capabilities": frozenset(row["capabilities"]),
            "regions": frozenset(row["regions"]),
            "protocol": Protocol(row["protocol"]),
            "tier": Tier(row["tier"]),
            "input_usd_per_mtok": Decimal(row["input_usd_per_mtok"]),
            "output_usd_per_mtok": Decimal(row["output_usd_per_mtok"]),
            "registered_at": datetime.fromisoformat(row["registered_at"]),
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value) if isinstance(value, Word) else value
