"""What is routed in the benchmarks: registries of any size and requests with distinct texts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any, Final

from crew_moe import Router, RoutingRequest
from crew_moe.catalog import load_policy, load_registry
from crew_moe.domain.expert import Expert
from crew_moe.domain.registry import Registry
from crew_moe.domain.task import TaskType
from crew_moe.state import open_log, open_state
from crew_moe.strategies import STRATEGIES

SEED: Final = 7
TASK_TYPES: Final = tuple(task_type.value for task_type in TaskType)
SENTENCE: Final = (
    "Implement the authentication API, check the token on every call and write the tests that prove it; then review. "
)


def registry_of(count: int) -> Registry:
    """`count` experts: the catalogue's cloud experts, then variations of them. None needs a key."""
    base = [replace(expert, api_key_env=None) for expert in load_registry() if not expert.is_local]
    rng = Random(SEED)
    experts = base[:count]
    while len(experts) < count:
        experts.append(_variation(base[len(experts) % len(base)], len(experts), rng))
    return Registry(experts=tuple(experts))


def _variation(expert: Expert, number: int, rng: Random) -> Expert:
    factor = Decimal(str(round(rng.uniform(0.5, 2.0), 3)))
    return replace(
        expert,
        expert_id=f"{expert.expert_id}-{number}",
        provider=f"{expert.provider}-{number % 7}",
        quality=min(1.0, max(0.0, expert.quality + rng.uniform(-0.03, 0.03))),
        input_usd_per_mtok=expert.input_usd_per_mtok * factor,
        output_usd_per_mtok=expert.output_usd_per_mtok * factor,
        fallback=None,
    )


def router_of(count: int) -> Router:
    """A router over `count` experts with the packaged policy, state and log in memory."""
    policy = load_policy(None, load_registry(), STRATEGIES)
    return Router(
        registry=registry_of(count),
        policy=policy,
        state=open_state(":memory:", policy.breaker),
        log=open_log(":memory:"),
    )


def text_of(chars: int, number: int = 0) -> str:
    """A text of exactly `chars` characters that differs for each number, so that no cache can answer for it."""
    head = f"Case {number}. "
    return (head + SENTENCE * (chars // len(SENTENCE) + 1))[:chars]


def fields_of(chars: int, number: int) -> dict[str, Any]:
    """The fields of one realistic request: a budget, a quality floor and a need, over all task types and ten floors."""
    return {
        "task_type": TASK_TYPES[number % len(TASK_TYPES)],
        "text": text_of(chars, number),
        "budget_usd": "0.05",
        "min_quality": 0.80 + 0.01 * (number % 10),
        "requires": ["tools"],
    }


def unseen_fields_of(chars: int, number: int) -> dict[str, Any]:
    """As `fields_of`, with a quality floor that no earlier request had: what is kept per set of needs does not help."""
    return {**fields_of(chars, number), "min_quality": 0.80 + number * 1e-7}


def requests_of(count: int, chars: int, first: int = 0) -> list[RoutingRequest]:
    """Validated requests, each a new object with a text of its own."""
    return [RoutingRequest(**fields_of(chars, number)) for number in range(first, first + count)]
