"""Runs inside litellm's own virtual environment: picks deployments on demand and reports the CPU time of each pick.

One JSON line in (`{"strategy": ..., "text": ..., "calls": N}`), one JSON line out (`{"samples_ns": [...]}`).
Nothing is called over the network: the picks are those that litellm makes before it would call a provider.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from litellm import Router

DEPLOYMENTS = 18
GROUP = "experts"
SEEDED_LATENCIES = 10


def build(strategy: str) -> Any:
    """A router over 18 deployments of one group, without keys that work."""
    deployments = [
        {
            "model_name": GROUP,
            "litellm_params": {
                "model": f"openai/expert-{number}",
                "api_key": "unused",
                "input_cost_per_token": 1e-7 * (number + 1),
                "output_cost_per_token": 4e-7 * (number + 1),
            },
            "model_info": {"id": f"expert-{number}"},
        }
        for number in range(DEPLOYMENTS)
    ]
    router = Router(model_list=deployments, routing_strategy=strategy, num_retries=0, set_verbose=False)
    if strategy == "latency-based-routing":
        seed_latencies(router)
    return router


def seed_latencies(router: Any) -> None:
    """A history for every deployment: without one, the latency strategy picks at random and is cheaper than in use."""
    start = datetime.now(tz=timezone.utc)  # noqa: UP017 - this file runs on whatever Python litellm's venv has
    for number in range(DEPLOYMENTS):
        call = {"litellm_params": {"metadata": {"model_group": GROUP}, "model_info": {"id": f"expert-{number}"}}}
        for sample in range(SEEDED_LATENCIES):
            end = start + timedelta(milliseconds=200 + 40 * number + 7 * sample)
            router.lowestlatency_logger.log_success_event(call, litellm.ModelResponse(), start, end)


def sample_sync(router: Any, messages: list[dict[str, str]], calls: int) -> list[int]:
    clock = time.thread_time_ns
    samples = []
    for _ in range(calls):
        start = clock()
        router.get_available_deployment(model=GROUP, messages=messages, request_kwargs={})
        samples.append(clock() - start)
    return samples


async def sample_async(router: Any, messages: list[dict[str, str]], calls: int) -> list[int]:
    clock = time.thread_time_ns
    samples = []
    for _ in range(calls):
        start = clock()
        await router.async_get_available_deployment(model=GROUP, messages=messages, request_kwargs={})
        samples.append(clock() - start)
        await asyncio.sleep(0)  # lets the task that litellm spawns per pick finish outside the sample
    return samples


def main() -> None:
    logging.disable(logging.CRITICAL)
    routers: dict[str, Any] = {}
    for line in sys.stdin:
        job = json.loads(line)
        strategy, messages = job["strategy"], [{"role": "user", "content": job["text"]}]
        router = routers.setdefault(strategy, None) or build(strategy)
        routers[strategy] = router
        if strategy == "cost-based-routing":  # has no synchronous pick
            samples = asyncio.run(sample_async(router, messages, job["calls"]))
        else:
            samples = sample_sync(router, messages, job["calls"])
        sys.stdout.write(json.dumps({"samples_ns": samples}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
