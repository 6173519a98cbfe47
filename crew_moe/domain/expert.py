"""An expert: one routable model endpoint, with its price, its promises and where those figures come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

from crew_moe.domain.meter import NO_LIMITS, RateLimits
from crew_moe.domain.price import PLAIN, Bounds, Price, PriceList, Rates, Tariff
from crew_moe.domain.usage import Usage
from crew_moe.domain.word import Word


class Capability(Word):
    """What a call may need of an expert (seed 001's eight)."""

    VISION = "vision"
    TOOLS = "tools"
    JSON = "json"
    STREAMING = "streaming"
    REASONING = "reasoning"
    LONG_CONTEXT = "long_context"
    CODE = "code"
    MULTILINGUAL = "multilingual"

    @property
    def bit(self) -> int:
        return 1 << _CAPABILITY_ORDER[self]


_CAPABILITY_ORDER = {capability: index for index, capability in enumerate(Capability)}


def capability_bits(capabilities: Iterable[Capability]) -> int:
    """The set as one integer, so that 'has all of' is a mask."""
    bits = 0
    for capability in capabilities:
        bits |= capability.bit
    return bits


class Tier(Word):
    """Quality band: fast < baseline < premium."""

    FAST = "fast"
    BASELINE = "baseline"
    PREMIUM = "premium"

    @property
    def rank(self) -> int:
        return _TIER_RANK[self]


SERVICE: Final = "service:"
"""What the provider's name of a registered service begins with."""

_TIER_RANK = {Tier.FAST: 0, Tier.BASELINE: 1, Tier.PREMIUM: 2}


class Status(Word):
    """Whether the provider still serves the model. `--live` skips what is retired."""

    ACTIVE = "active"
    PREVIEW = "preview"
    RETIRED = "retired"


class Parameter(Word):
    """Request parameters that not every model takes."""

    TEMPERATURE = "temperature"
    STOP = "stop"
    JSON_SCHEMA = "json_schema"
    SYSTEM = "system"
    SEED = "seed"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


class Transport(Word):
    """How an expert is reached: over OpenAI's chat API, by the crew framework's own class, or in this process (by the
    extractive expert, or by the local gate).
    """

    OPENAI = "openai"
    NATIVE = "native"
    EXTRACTIVE = "extractive"
    HOSTED = "hosted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """One routable model endpoint. Prices in US$ per million tokens, windows in tokens, latencies in ms.

    `prices` is what there is beside the price of input and output; `price` is all of it.

    `reliability` is the success rate assumed until there is a record. A `named_only` expert serves only where
    somebody named it (a pin, a fallback list) or where the text may not leave the user's machines.
    """

    expert_id: str
    provider: str
    provider_model: str
    tier: Tier
    quality: float
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    context_window: int
    max_output_tokens: int
    latency_p50_ms: float
    capabilities: frozenset[Capability]
    regions: frozenset[str]
    moderated: bool
    enabled: bool
    status: Status
    transport: Transport
    base_url: str | None
    base_url_env: str | None
    api_key_env: str | None
    parameters: frozenset[Parameter]
    fallback: str | None
    reliability: float
    named_only: bool
    source: str
    checked_on: date
    note: str = ""
    limits: RateLimits = NO_LIMITS
    prices: PriceList = PLAIN

    @property
    def is_local(self) -> bool:
        """Whether the text stays with machines of the user's own."""
        return self.provider == "local"

    @property
    def is_service(self) -> bool:
        """Whether it registered while the router ran, under an address that others named."""
        return self.provider.startswith(SERVICE)

    @property
    def is_free(self) -> bool:
        """Whether no call can ever cost anything."""
        return self.price.is_free

    @property
    def price(self) -> Price:
        """All that it costs."""
        rates = Rates(
            input_usd_per_mtok=self.input_usd_per_mtok,
            output_usd_per_mtok=self.output_usd_per_mtok,
            details=self.prices.details,
        )
        return Price(standard=Tariff(rates=rates, steps=self.prices.long_context), batch=self.prices.batch)

    def priced(self, price: Price) -> Expert:
        """The same expert at another price."""
        rates = price.standard.rates
        return replace(
            self,
            input_usd_per_mtok=rates.input_usd_per_mtok,
            output_usd_per_mtok=rates.output_usd_per_mtok,
            prices=PriceList(details=rates.details, long_context=price.standard.steps, batch=price.batch),
        )

    def charge_nano(self, input_tokens: int, output_tokens: int) -> int:
        """What this much text costs, in nano-USD."""
        return self.bill_nano(Usage(input_tokens=input_tokens, output_tokens=output_tokens))

    def bill_nano(self, usage: Usage) -> int:
        """What the provider charges for this call, in nano-USD, each part rounded up."""
        return self.price.bill_nano(usage)

    def worst_nano(self, input_tokens: int, output_tokens: int, *, audio: bool = False, images: bool = False) -> int:
        """No less than what any call costs that takes no more than this, in nano-USD.

        Tokens of `audio` and `images` are among the input's (and audio among the output's) only where it says so.
        """
        bounds = Bounds(input_tokens=input_tokens, output_tokens=output_tokens, audio=audio, images=images)
        return self.price.worst_nano(bounds)

    def output_room(
        self, left_nano: int, input_tokens: int, *, audio: bool = False, images: bool = False
    ) -> int | None:
        """The most output tokens whose worst case is within `left_nano`; None: any number, for output is free.

        0 where the input alone is too dear.
        """
        bounds = Bounds(input_tokens=input_tokens, audio=audio, images=images)
        return self.price.output_room(left_nano, bounds)
