"""The catalogue's prices held against those that the genai-prices library knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from crew_moe.catalog.live_prices import LIBRARY, has_live_prices, live_price
from crew_moe.domain.expert import Expert, Status
from crew_moe.domain.price import Price, Rates
from crew_moe.errors import MissingExtra

TOLERANCE: Final = Decimal("0.005")


class Standing(StrEnum):
    """What a comparison found."""

    SAME = "same"
    DRIFT = "drift"
    UNKNOWN = "unknown"  # the library has no such model
    SELF_HOSTED = "self-hosted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One expert. `ratio` is the known price over the catalogue's, of input and output together; None without both.

    `differing` names the catalogue's figures that are not the known ones, those of caches, long inputs and batches too.
    """

    expert_id: str
    provider_model: str
    retired: bool
    catalogue: Rates
    known: Rates | None
    ratio: Decimal | None
    differing: tuple[str, ...]
    standing: Standing

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; amounts as text."""
        known = self.known
        return {
            "expert_id": self.expert_id,
            "provider_model": self.provider_model,
            "standing": self.standing.value,
            "retired": self.retired,
            "catalogue_input_usd_per_mtok": str(self.catalogue.input_usd_per_mtok),
            "catalogue_output_usd_per_mtok": str(self.catalogue.output_usd_per_mtok),
            "known_input_usd_per_mtok": None if known is None else str(known.input_usd_per_mtok),
            "known_output_usd_per_mtok": None if known is None else str(known.output_usd_per_mtok),
            "ratio": None if self.ratio is None else float(self.ratio),
            "differing": list(self.differing),
        }


def compare(experts: Iterable[Expert]) -> tuple[Comparison, ...]:
    """One row per expert, in their order. Raises MissingExtra without genai-prices; nothing is fetched."""
    if not has_live_prices():
        raise MissingExtra("prices", LIBRARY)
    return tuple(_compared(expert) for expert in experts)


def _compared(expert: Expert) -> Comparison:
    catalogue = expert.price
    known = None if expert.is_local else live_price(expert.provider_model, expert.provider)
    standing = Standing.SELF_HOSTED if expert.is_local else Standing.UNKNOWN
    differing: tuple[str, ...] = ()
    if known is not None:
        differing = tuple(_differing(_figures(catalogue), _figures(known)))
        standing = Standing.DRIFT if differing else Standing.SAME
    return Comparison(
        expert_id=expert.expert_id,
        provider_model=expert.provider_model,
        retired=expert.status is Status.RETIRED,
        catalogue=catalogue.standard.rates,
        known=None if known is None else known.standard.rates,
        ratio=None if known is None else _ratio(known.standard.rates, catalogue.standard.rates),
        differing=differing,
        standing=standing,
    )


def _differing(catalogue: Mapping[str, Decimal], known: Mapping[str, Decimal]) -> Iterator[str]:
    """Names of the catalogue's figures that are not the known ones; what it leaves out is no error."""
    for name, one in catalogue.items():
        other = known.get(name)
        if other is None or abs(one - other) > TOLERANCE * max(one, other):
            yield name


def _figures(price: Price) -> dict[str, Decimal]:
    """Every figure of a price by its name: `batch.output_usd_per_mtok`, `above 128000.input_usd_per_mtok`."""
    tariffs = [("", price.standard)] if price.batch is None else [("", price.standard), ("batch.", price.batch)]
    return {
        f"{prefix}{name}": figure
        for prefix, tariff in tariffs
        for name, figure in (
            *_named("", tariff.rates),
            *(pair for step in tariff.steps for pair in _named(f"above {step.above_tokens}.", step.rates)),
        )
    }


def _named(prefix: str, rates: Rates) -> Iterator[tuple[str, Decimal]]:
    yield f"{prefix}input_usd_per_mtok", rates.input_usd_per_mtok
    yield f"{prefix}output_usd_per_mtok", rates.output_usd_per_mtok
    for one in fields(rates.details):
        figure = getattr(rates.details, one.name)
        if figure is not None:
            yield f"{prefix}{one.name}", figure


def _ratio(known: Rates, catalogue: Rates) -> Decimal | None:
    total = catalogue.input_usd_per_mtok + catalogue.output_usd_per_mtok
    return (known.input_usd_per_mtok + known.output_usd_per_mtok) / total if total else None
