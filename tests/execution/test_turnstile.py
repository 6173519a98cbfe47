"""The turnstile: providers' limits are kept before they are hit, by everybody who shares the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.expert import Expert
from crew_moe.domain.meter import Busy, Passage, RateLimits, Told
from crew_moe.domain.usage import Usage
from crew_moe.errors import StateError
from crew_moe.execution.turnstile import INPUT_TOKENS, REQUESTS, Turnstile
from crew_moe.state.memory.meters import MemoryMeters
from crew_moe.telemetry.events import Recorder
from tests.execution.given import EXPERT, NOW


def limited(**limits: Any) -> Expert:
    return replace(EXPERT, limits=RateLimits(**limits))


def turnstile(clock: ManualClock | None = None) -> Turnstile:
    return Turnstile(meters=MemoryMeters(), clock=clock or ManualClock(NOW), sink=Recorder())


def enter(on: Turnstile, expert: Expert, input_tokens: int = 10) -> Passage | Busy | None:
    return on.enter(expert, input_tokens=input_tokens, output_tokens=10, time_s=5.0)


def test_an_expert_without_known_limits_is_not_metered() -> None:
    assert enter(turnstile(), EXPERT) is None


def test_requests_beyond_the_limit_wait_until_there_is_room() -> None:
    clock = ManualClock(NOW)
    on, expert = turnstile(clock), limited(requests_per_minute=2)
    assert [type(enter(on, expert)) for _ in range(3)] == [Passage, Passage, Busy]

    found = enter(on, expert)
    assert isinstance(found, Busy)
    assert (found.rate, found.until) == (REQUESTS, NOW + timedelta(seconds=30))
    clock.advance(30.0)
    assert isinstance(enter(on, expert), Passage)


def test_unused_tokens_come_back() -> None:
    on, expert = turnstile(), limited(input_tokens_per_minute=100)
    passage = enter(on, expert, 100)
    assert isinstance(passage, Passage)
    on.leave(passage, Usage(input_tokens=40, output_tokens=1))

    assert isinstance(enter(on, expert, 60), Passage)
    assert isinstance(enter(on, expert, 1), Busy)


def test_a_call_that_was_never_made_takes_nothing() -> None:
    on, expert = turnstile(), limited(requests_per_minute=1, concurrent=1)
    passage = enter(on, expert)
    assert isinstance(passage, Passage)
    on.withdraw(passage)

    assert isinstance(enter(on, expert), Passage)


def test_what_the_provider_says_is_kept() -> None:
    on, expert = turnstile(), limited(requests_per_minute=100, input_tokens_per_minute=1_000)
    enter(on, expert)
    on.told(expert, (Told(rate=INPUT_TOKENS, remaining=5.0),))

    assert isinstance(enter(on, expert, 100), Busy)


def test_a_retry_after_closes_the_meter() -> None:
    on, expert = turnstile(), limited(requests_per_minute=100)
    on.closed(expert, 20_000.0)
    found = enter(on, expert)

    assert isinstance(found, Busy)
    assert found.until == NOW + timedelta(seconds=20)


def test_a_lost_store_lets_calls_pass_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StateError("the server is gone")

    on = turnstile()
    monkeypatch.setattr(on.meters, "take", fail)

    assert enter(on, limited(requests_per_minute=1)) is None
    assert isinstance(on.sink, Recorder)
    assert on.sink.events[0][0] == "meters_lost"


def test_a_call_of_any_length_finds_its_way_in() -> None:
    on = turnstile()

    assert isinstance(on.enter(limited(concurrent=1), input_tokens=1, output_tokens=1, time_s=1e9), Passage)
