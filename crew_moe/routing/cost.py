"""What a call will cost: tokens predicted from the request, prices from the catalogue, usage from experience.

Every expert's cost is linear in the request's tokens, C = P x input + Q x output + K, so that one vectorised line
serves one request or ten thousand. Where calls of this expert at this task type have been observed, the predicted
output is drawn towards their average: with n observations and policy weight k it is
(k x predicted + n x observed) / (k + n), which folds into Q and K.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from crew_moe.domain.decision import CostRange
from crew_moe.domain.money import to_usd
from crew_moe.routing.columns import Columns, Floats, Ints
from crew_moe.routing.experience import Experience


class Prices(NamedTuple):
    """Coefficients of C = per_input x input + per_output x output + constant, nano-USD, each (experts,).

    `constant` is None while no usage was observed.
    """

    per_input: Floats
    per_output: Floats
    constant: Floats | None

    def of(self, members: Ints) -> Prices:
        """The coefficients of some experts."""
        constant = None if self.constant is None else self.constant[members]
        return Prices(self.per_input[members], self.per_output[members], constant)


def prices_of(columns: Columns, experience: Experience) -> Prices:
    """Cost coefficients of every expert for one task type."""
    if not experience.tokens.any():
        return Prices(columns.input_nano, columns.output_nano, None)
    return Prices(
        columns.input_nano, columns.output_nano * experience.multiplier, columns.output_nano * experience.tokens
    )


def cost_of(prices: Prices, input_tokens: float | Floats, output_tokens: float | Floats) -> Floats:
    """Expected cost of every expert in nano-USD; sizes are numbers, or columns for many requests."""
    cost = prices.per_input * input_tokens + prices.per_output * output_tokens
    return cost if prices.constant is None else cost + prices.constant


def cost_range(expected_nano: float, spread: float) -> CostRange:
    """The predicted range in US$ around an expected cost (seed 001: +-30 %)."""
    return CostRange(
        min_usd=_usd(expected_nano * (1.0 - spread)),
        expected_usd=_usd(expected_nano),
        max_usd=_usd(expected_nano * (1.0 + spread)),
    )


def return_on_cost(quality: float, latency_ms: float, cost_usd: float, reference_usd: float) -> float:
    """Quality bought per cost and time (seed 001's ROI), in [0, quality]; finite and highest at a price of zero.

    `reference_usd` is the cost at which the money half of it is worth one half; one second is that of the time half.
    """
    by_money = reference_usd / (reference_usd + cost_usd)
    by_time = 1000.0 / (1000.0 + latency_ms)
    return quality * (by_money + by_time) / 2.0


def _usd(nano: float) -> Decimal:
    return to_usd(round(nano))
