"""The catalogue's prices held against those that the genai-prices library knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from crew_moe.domain.expert import Expert, Status
from crew_moe.errors import MissingExtra

LIBRARY: Final = "genai_prices"
SAMPLE: Final = 1_000  # tokens: small enough to stay in the first band where prices rise with length
PER_MTOK: Final = Decimal(1_000_000 // SAMPLE)
TOLERANCE: Final = Decimal("0.005")


class Standing(StrEnum):
    """What a comparison found."""

    SAME = "same"
    DRIFT = "drift"
    UNKNOWN = "unknown"  # the library has no such model
    SELF_HOSTED = "self-hosted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US$ per million tokens in and out."""

    input_usd: Decimal
    output_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One expert. `ratio` is the known price over the catalogue's, of input and output together; None without both."""

    expert_id: str
    provider_model: str
    retired: bool
    catalogue: Price
    known: Price | None
    ratio: Decimal | None
    standing: Standing

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; amounts as text."""
        known = self.known
        return {
            "expert_id": self.expert_id,
            "provider_model": self.provider_model,
            "standing": self.standing.value,
            "retired": self.retired,
            "catalogue_input_usd_per_mtok": str(self.catalogue.input_usd),
            "catalogue_output_usd_per_mtok": str(self.catalogue.output_usd),
            "known_input_usd_per_mtok": None if known is None else str(known.input_usd),
            "known_output_usd_per_mtok": None if known is None else str(known.output_usd),
            "ratio": None if self.ratio is None else float(self.ratio),
        }


def compare(experts: Iterable[Expert]) -> tuple[Comparison, ...]:
    """One row per expert, in their order. Raises MissingExtra without genai-prices; nothing is fetched."""
    if find_spec(LIBRARY) is None:
        raise MissingExtra("prices", LIBRARY)
    return tuple(_compared(expert) for expert in experts)


def _compared(expert: Expert) -> Comparison:
    catalogue = Price(input_usd=expert.input_usd_per_mtok, output_usd=expert.output_usd_per_mtok)
    known = None if expert.is_local else _known(expert)
    standing = Standing.SELF_HOSTED if expert.is_local else Standing.UNKNOWN
    ratio = None
    if known is not None:
        ratio = _ratio(known, catalogue)
        standing = Standing.SAME if _close(known, catalogue) else Standing.DRIFT
    return Comparison(
        expert_id=expert.expert_id,
        provider_model=expert.provider_model,
        retired=expert.status is Status.RETIRED,
        catalogue=catalogue,
        known=known,
        ratio=ratio,
        standing=standing,
    )


def _known(expert: Expert) -> Price | None:
    """The library's price of this very model, as of now."""
    library = import_module(LIBRARY)
    tokens = library.Usage(input_tokens=SAMPLE, output_tokens=SAMPLE)
    try:
        found = library.calc_price(tokens, model_ref=expert.provider_model, provider_id=expert.provider)
    except (LookupError, ValueError):
        return None
    return Price(input_usd=found.input_price * PER_MTOK, output_usd=found.output_price * PER_MTOK)


def _ratio(known: Price, catalogue: Price) -> Decimal | None:
    total = catalogue.input_usd + catalogue.output_usd
    return (known.input_usd + known.output_usd) / total if total else None


def _close(known: Price, catalogue: Price) -> bool:
    pairs = ((known.input_usd, catalogue.input_usd), (known.output_usd, catalogue.output_usd))
    return all(abs(one - other) <= TOLERANCE * max(one, other) for one, other in pairs)
