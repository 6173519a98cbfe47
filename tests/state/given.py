"""Values that the tests of stores and logs start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hypothesis import settings

from crew_moe.domain.outcome import Sample
from crew_moe.domain.policy import BreakerPolicy
from crew_moe.domain.service import Registration, Service, accepted
from crew_moe.domain.snapshot import Performance, Pin

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POLICY: Final = BreakerPolicy(failures=5, ejection_ms=60_000, max_ejection_ms=900_000, backoff=2.0, probes=1)
STEADY: Final = settings(derandomize=True, deadline=None)  # the same examples on every machine, however slow
SAMPLE: Final = Sample(
    expert_id="gpt-4o",
    task_type="testing",
    success=True,
    latency_ms=800.0,
    cost_usd=0.25,
    input_tokens=100,
    output_tokens=50,
    quality=0.5,
    reward=1.0,
)


def later(**units: float) -> datetime:
    """NOW plus a timedelta's units."""
    return NOW + timedelta(**units)


def record(*, samples: float = 10.0, updated_at: datetime = NOW) -> Performance:
    """A record of an expert that has done well."""
    return Performance(
        samples=samples,
        success_rate=0.9,
        latency_ms=700.0,
        cost_usd=0.01,
        input_tokens=120.0,
        output_tokens=80.0,
        quality=0.8,
        learned=None,
        updated_at=updated_at,
    )


def pin_to(
    expert_id: str, *, task_type: str | None = None, created_at: datetime = NOW, expires_at: datetime | None = None
) -> Pin:
    """A pin as an operator sets it."""
    return Pin(
        expert_id=expert_id, task_type=task_type, reason="tried", by="ops", created_at=created_at, expires_at=expires_at
    )


def row_of(number: int) -> Callable[[], Mapping[str, Any]]:
    """The builder of a small decision row."""
    return lambda: {"decision_id": f"d{number}", "score": number / 7, "experts": ["a", "b"]}


def service_named(service_id: str = "embedder", **told: Any) -> Service:
    """A service as an admin registers it."""
    entry = {"service_type": "embedding", "endpoint": "http://127.0.0.1:9/run", **told}
    return accepted(Registration(service_id=service_id, **entry), at=NOW, by="ops")
