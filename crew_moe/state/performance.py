"""How experts did, as averages that forget: one observation folded into one record, purely.

The constants are those of seed 001: exponential moving averages with alpha 0.1, a half-life of one week, 30 days to
live, and confidence as sample size times recency.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from crew_moe.domain.outcome import Sample
from crew_moe.domain.snapshot import Performance

ALPHA: Final = 0.1
HALF_LIFE: Final = timedelta(weeks=1)
EXPIRY: Final = timedelta(days=30)
HALF_TRUSTED_SAMPLES: Final = 1 / ALPHA  # the averages' own memory: about 1/alpha observations


def fold(before: Performance | None, sample: Sample, now: datetime) -> Performance:
    """The record after one more observation; the first one of a quantity sets its average, unless the sample says
    where that begins.

    What the sample did not observe (None) keeps its average. Only a call's own result (`success`) counts as a
    sample; feedback alone moves quality and `learned`. An expired record starts anew.
    """
    old = None if before is None else as_read(before, now)
    if old is None:
        old = Performance(
            samples=0.0,
            success_rate=None,
            latency_ms=None,
            cost_usd=None,
            input_tokens=None,
            output_tokens=None,
            quality=None,
            learned=None,
            updated_at=now,
        )
    return Performance(
        samples=old.samples + (sample.success is not None),
        success_rate=_average(old.success_rate, sample.success),
        latency_ms=_average(old.latency_ms, sample.latency_ms),
        cost_usd=_average(old.cost_usd, sample.cost_usd),
        input_tokens=_average(old.input_tokens, sample.input_tokens),
        output_tokens=_average(old.output_tokens, sample.output_tokens),
        quality=_average(old.quality, sample.quality, sample.weight, sample.quality_prior),
        learned=_average(old.learned, sample.reward, sample.weight, sample.reward_prior),
        updated_at=max(old.updated_at, now),
    )


def as_read(performance: Performance, now: datetime) -> Performance | None:
    """The record as it counts at `now`: its samples faded by age, None once it has expired."""
    if now - performance.updated_at >= EXPIRY:
        return None
    return Performance(  # spelled out, since `replace` takes three times as long and a snapshot reads every record
        samples=performance.samples * _recency(performance, now),
        success_rate=performance.success_rate,
        latency_ms=performance.latency_ms,
        cost_usd=performance.cost_usd,
        input_tokens=performance.input_tokens,
        output_tokens=performance.output_tokens,
        quality=performance.quality,
        learned=performance.learned,
        updated_at=performance.updated_at,
    )


def confidence(performance: Performance, now: datetime) -> float:
    """How far to trust a record, in [0, 1): n / (n + 10) for its samples times 2 ** (-age / one week)."""
    sample_size = performance.samples / (performance.samples + HALF_TRUSTED_SAMPLES)
    return sample_size * _recency(performance, now)


def _average(
    old: float | None, observed: float | None, weight: float = 1.0, prior: float | None = None
) -> float | None:
    if observed is None:
        return old
    before = prior if old is None else old
    if before is None:
        return float(observed)
    return before + ALPHA * weight * (observed - before)


def _recency(performance: Performance, now: datetime) -> float:
    # Clocks of several hosts differ a little: a record from the future is fresh, not stronger than fresh.
    age = max(now - performance.updated_at, timedelta(0))
    return float(2.0 ** -(age / HALF_LIFE))
