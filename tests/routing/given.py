"""Boards, experts and requests that the tests of deciding start from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from hypothesis import settings

from crew_moe.catalog import load_policy, load_registry
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.expert import Expert
from crew_moe.domain.policy import Exploration, Policy
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.snapshot import Breaker, Circuit, Performance, Pin, Snapshot
from crew_moe.routing import Board, board_of, decide
from crew_moe.strategies import STRATEGIES

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STEADY: Final = settings(derandomize=True, deadline=None)  # the same examples on every machine, however slow
REGISTRY: Final = load_registry()
POLICY: Final = load_policy(None, REGISTRY, STRATEGIES)
EXPLORING: Final = replace(POLICY, exploration=Exploration(rate=0.2))
OPEN: Final = Breaker(state=Circuit.OPEN, failures=5, ejections=1, until=NOW + timedelta(seconds=60))


def board(
    *,
    registry: Registry = REGISTRY,
    policy: Policy = POLICY,
    live: bool = False,
    without_credentials: frozenset[str] = frozenset(),
    **learned: Any,
) -> Board:
    """A board at NOW; `learned` are fields of its Snapshot."""
    snapshot = Snapshot(taken_at=NOW, **learned)
    return board_of(registry, policy, snapshot, live=live, without_credentials=without_credentials)


def expert(expert_id: str = "one", **changes: Any) -> Expert:
    """An expert that can do everything, 1 US$ per million tokens each way."""
    plain: dict[str, Any] = {
        "expert_id": expert_id,
        "provider": "acme",
        "input_usd_per_mtok": Decimal(1),
        "output_usd_per_mtok": Decimal(1),
        "fallback": None,
    }
    return replace(REGISTRY["claude-haiku-4-5"], **{**plain, **changes})


def market(*experts: Expert) -> Registry:
    return Registry(experts=experts)


def record(**observed: Any) -> Performance:
    """A record of 100 calls at NOW with what is given observed and nothing else."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("success_rate", "latency_ms", "cost_usd", "input_tokens", "output_tokens", "quality", "learned")
    )
    return Performance(samples=100.0, updated_at=NOW, **{**nothing, **observed})


def pin(expert_id: str, **fields: Any) -> Pin:
    return Pin(expert_id=expert_id, **{"created_at": NOW, **fields})


def answer(on: Board | None = None, *, seed: int = 7, **fields: Any) -> Decision | Infeasible:
    """What is decided for a request of these fields; planning where no task type is given."""
    request = RoutingRequest(**{"task_type": "planning", **fields})
    return decide(request, on or board(), decision_id="d-1", now=NOW, new_seed=lambda: seed)


def decided(on: Board | None = None, *, seed: int = 7, **fields: Any) -> Decision:
    found = answer(on, seed=seed, **fields)
    assert isinstance(found, Decision), found
    return found


def refused(on: Board | None = None, **fields: Any) -> Infeasible:
    found = answer(on, **fields)
    assert isinstance(found, Infeasible), found
    return found


def rules(found: Decision | Infeasible) -> dict[str, str]:
    """The rule that turned each expert away."""
    return {rejection.expert_id: rejection.rule for rejection in found.rejections}
