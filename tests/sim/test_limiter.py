"""Simulated rate limits: beyond them nobody gets in, and every answer tells where they stand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from crew_moe.domain.expert import Expert
from crew_moe.domain.meter import RateLimits
from crew_moe.domain.registry import Registry
from crew_moe.execution.rate_headers import limits_told, retry_after_ms
from crew_moe.sim import simulate
from crew_moe.sim.limiter import Limiter
from tests.sim.conftest import FakeClock

Ask = Callable[..., httpx.Response]


def refused(limiter: Limiter, expert: Expert, clock: FakeClock, tokens: int = 10, time_s: float = 0.0) -> float | None:
    return limiter.refuses(expert, clock.now(), input_tokens=tokens, output_tokens=tokens, time_s=time_s)


def limiter(*expert_ids: str, **limits: Any) -> Limiter:
    return Limiter(dict.fromkeys(expert_ids, RateLimits(**limits)))


def test_expert_without_limits_takes_everything(registry: Registry, clock: FakeClock) -> None:
    one = limiter("o1", requests_per_minute=1)

    assert [refused(one, registry["gpt-4o"], clock) for _ in range(3)] == [None, None, None]
    assert one.headers(registry["gpt-4o"], clock.now()) == ()


@pytest.mark.parametrize("limits", [{"requests_per_minute": 2}, {"output_tokens_per_minute": 20}])
def test_call_too_many_waits_for_its_part_of_the_minute(
    registry: Registry, clock: FakeClock, limits: dict[str, int]
) -> None:
    one, expert = limiter("o1", **limits), registry["o1"]

    assert [refused(one, expert, clock) for _ in range(3)] == [None, None, 30.0]
    clock.elapsed_s = 30.0
    assert refused(one, expert, clock) is None


def test_place_is_free_when_the_answer_is_over(registry: Registry, clock: FakeClock) -> None:
    one, expert = limiter("o1", concurrent=1), registry["o1"]

    assert [refused(one, expert, clock, time_s=2.0) for _ in range(2)] == [None, 2.0]
    clock.elapsed_s = 2.0
    assert refused(one, expert, clock) is None


@pytest.mark.parametrize("expert_id", ["gpt-4o", "claude-haiku-4-5"])
def test_headers_say_what_a_client_needs(registry: Registry, clock: FakeClock, expert_id: str) -> None:
    one, expert = limiter(expert_id, requests_per_minute=10, input_tokens_per_minute=1_000), registry[expert_id]
    refused(one, expert, clock, tokens=250)

    requests, tokens = limits_told(dict(one.headers(expert, clock.now())), clock.now())

    assert (requests.rate, requests.capacity, requests.remaining) == ("requests", 10, 9)
    assert (tokens.rate, tokens.capacity, tokens.remaining) == ("input_tokens", 1_000, 750)
    assert tokens.resets_at == clock.now() + timedelta(seconds=15)


@pytest.mark.parametrize(("used", "reset"), [(0, "0ms"), (1, "30ms"), (766, "22.98s"), (2_000, "1m0s")])
def test_openais_spans_are_its_own(registry: Registry, clock: FakeClock, used: int, reset: str) -> None:
    one, expert = limiter("o1", input_tokens_per_minute=2_000), registry["o1"]
    refused(one, expert, clock, tokens=used)

    assert dict(one.headers(expert, clock.now()))["x-ratelimit-reset-tokens"] == reset


def test_call_too_many_is_a_429_that_says_when_to_come_back(registry: Registry, ask: Ask, clock: FakeClock) -> None:
    script = {"speed": 0, "limits": {"gpt-4o": {"requests_per_minute": 2}}}
    with simulate(script, registry=registry, clock=clock) as sim:
        answers = [ask(sim.base_url) for _ in range(3)]
        other = ask(sim.base_url, "gpt-4o-mini")

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert retry_after_ms(answers[-1].headers, clock.now()) == 30_000.0
    assert [request.fault for request in sim.requests] == [None, None, "429", None]
    assert "x-ratelimit-remaining-requests" not in other.headers


def test_limits_are_told_with_a_scripted_error_too(registry: Registry, ask: Ask) -> None:
    script = {"speed": 0, "limits": {"gpt-4o": {"requests_per_minute": 5}}, "rules": [{"error": 500}]}
    with simulate(script, registry=registry) as sim:
        answer = ask(sim.base_url)

    assert (answer.status_code, answer.headers["x-ratelimit-limit-requests"]) == (500, "5")


def test_speed_leaves_the_limits_as_they_are(registry: Registry, ask: Ask) -> None:
    with simulate({"limits": {"gpt-4o": {"requests_per_minute": 5}}}, registry=registry, speed=0) as sim:
        assert ask(sim.base_url).headers["x-ratelimit-limit-requests"] == "5"
