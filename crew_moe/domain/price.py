"""Prices: what a provider charges for each kind of token, for long inputs, and for calls in a batch.

All prices are US$ per million tokens, all charges whole nano-USD, each part of a call rounded up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final, NamedTuple

from crew_moe.domain.money import discounted, price_nano, tokens_within
from crew_moe.domain.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Prices of tokens that cost something else than the rest of their side; None: they cost the same."""

    cached_input_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    input_audio_usd_per_mtok: Decimal | None = None
    input_image_usd_per_mtok: Decimal | None = None
    reasoning_usd_per_mtok: Decimal | None = None
    output_audio_usd_per_mtok: Decimal | None = None


NO_DETAILS: Final = Details()


class _Part(NamedTuple):
    """Some of a side's tokens; `only` names what a call must have (audio, images) for it to have such tokens."""

    tokens: str
    price: str
    only: str = ""


# In the order in which they are counted: where parts claim more than there is, the cheapest of them, a cache's, yields.
_INPUT: Final = (
    _Part("input_audio_tokens", "input_audio_usd_per_mtok", "audio"),
    _Part("input_image_tokens", "input_image_usd_per_mtok", "images"),
    _Part("cache_write_tokens", "cache_write_usd_per_mtok"),
    _Part("cached_tokens", "cached_input_usd_per_mtok"),
)
_OUTPUT: Final = (
    _Part("output_audio_tokens", "output_audio_usd_per_mtok", "audio"),
    _Part("reasoning_tokens", "reasoning_usd_per_mtok"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The most that a call may take, and what it may be made of beside text."""

    input_tokens: int
    output_tokens: int = 0
    audio: bool = False
    images: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What each kind of token costs, for inputs of one range of lengths."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    details: Details = NO_DETAILS

    @property
    def is_free(self) -> bool:
        return not any((self.input_usd_per_mtok, self.output_usd_per_mtok, *self._own().values()))

    def bill_nano(self, usage: Usage) -> int:
        """The charge; parts that claim more tokens than their side has get what there is."""
        return self._charged(usage, usage.input_tokens, self.input_usd_per_mtok, _INPUT) + self._charged(
            usage, usage.output_tokens, self.output_usd_per_mtok, _OUTPUT
        )

    def worst_nano(self, bounds: Bounds) -> int:
        """No less than the bill of any usage within the bounds."""
        return self._worst_input(bounds) + self._worst_output(bounds)

    def output_room(self, left_nano: int, bounds: Bounds) -> int | None:
        """The most output tokens with which the worst case is within `left_nano`; None: any number."""
        dearest, roundings = self._dearest(self.output_usd_per_mtok, _OUTPUT, bounds)
        left = left_nano - self._worst_input(bounds) - roundings
        if not dearest:
            return None if left >= 0 else 0
        return max(0, tokens_within(left, dearest))

    def discounted(self, share: Decimal) -> Rates:
        """Every price less a share (0-1) of it."""
        own = {name: None if price is None else discounted(price, share) for name, price in self._own().items()}
        return Rates(
            input_usd_per_mtok=discounted(self.input_usd_per_mtok, share),
            output_usd_per_mtok=discounted(self.output_usd_per_mtok, share),
            details=Details(**own),
        )

    def _own(self) -> dict[str, Decimal | None]:
        return {one.name: getattr(self.details, one.name) for one in fields(Details)}

    def _charged(self, usage: Usage, total: int, rest: Decimal, parts: tuple[_Part, ...]) -> int:
        nano = 0
        for part in parts:
            price = getattr(self.details, part.price)
            if price is not None:
                tokens = min(getattr(usage, part.tokens), total)
                total -= tokens
                nano += price_nano(tokens, price)
        return nano + price_nano(total, rest)

    def _worst_input(self, bounds: Bounds) -> int:
        dearest, roundings = self._dearest(self.input_usd_per_mtok, _INPUT, bounds)
        return price_nano(bounds.input_tokens, dearest) + roundings if bounds.input_tokens else 0

    def _worst_output(self, bounds: Bounds) -> int:
        dearest, roundings = self._dearest(self.output_usd_per_mtok, _OUTPUT, bounds)
        return price_nano(bounds.output_tokens, dearest) + roundings if bounds.output_tokens else 0

    def _dearest(self, rest: Decimal, parts: tuple[_Part, ...], bounds: Bounds) -> tuple[Decimal, int]:
        """The highest price of one side, and how many nano-USD rounding its parts one by one may add."""
        possible = [part for part in parts if not part.only or getattr(bounds, part.only)]
        own = [price for part in possible if (price := getattr(self.details, part.price)) is not None]
        return max([rest, *own]), sum(price > 0 for price in own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a call costs, all of it, whose input is longer than `above_tokens`."""

    above_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Rates, and the steps by which they change with the length of the input, shortest first."""

    rates: Rates
    steps: tuple[Step, ...] = ()

    def at(self, input_tokens: int) -> Rates:
        """The rates of a call with an input of this length."""
        *_, last = self.up_to(input_tokens)
        return last

    def up_to(self, input_tokens: int) -> Iterator[Rates]:
        """Every rates that a call with an input of at most this length may have."""
        yield self.rates
        for step in self.steps:
            if input_tokens > step.above_tokens:
                yield step.rates

    def discounted(self, share: Decimal) -> Tariff:
        """Every price less a share (0-1) of it."""
        steps = (Step(above_tokens=step.above_tokens, rates=step.rates.discounted(share)) for step in self.steps)
        return Tariff(rates=self.rates.discounted(share), steps=tuple(steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """All that one model costs; without `batch` a call in a batch costs what others do."""

    standard: Tariff
    batch: Tariff | None = None

    @property
    def is_free(self) -> bool:
        """Whether no call can ever cost anything."""
        tariffs = [self.standard] if self.batch is None else [self.standard, self.batch]
        return all(rates.is_free for one in tariffs for rates in (one.rates, *(step.rates for step in one.steps)))

    def bill_nano(self, usage: Usage) -> int:
        """What the provider charges for one call, in nano-USD."""
        tariff = self.batch if usage.batch and self.batch is not None else self.standard
        return tariff.at(usage.input_tokens).bill_nano(usage)

    def worst_nano(self, bounds: Bounds) -> int:
        """No less than the bill of any call within the bounds, in nano-USD."""
        return max(rates.worst_nano(bounds) for rates in self._up_to(bounds.input_tokens))

    def output_room(self, left_nano: int, bounds: Bounds) -> int | None:
        """The most output tokens with which the worst case is within `left_nano`; None: any number.

        The output that `bounds` name is not looked at. With 0 even the input may be too dear.
        """
        rooms = [rates.output_room(left_nano, bounds) for rates in self._up_to(bounds.input_tokens)]
        return min((room for room in rooms if room is not None), default=None)

    def _up_to(self, input_tokens: int) -> Iterator[Rates]:
        yield from self.standard.up_to(input_tokens)
        if self.batch is not None:
            yield from self.batch.up_to(input_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """What an expert's price has beside a price of input and one of output."""

    details: Details = NO_DETAILS
    long_context: tuple[Step, ...] = ()
    batch: Tariff | None = None


PLAIN: Final = PriceList()
