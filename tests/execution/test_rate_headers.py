"""Rate limits are read from the headers of every provider, as far as they make sense."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.clock import ManualClock
from crew_moe.domain.meter import Busy, Demand, Rate, Told
from crew_moe.execution.rate_headers import limits_told, retry_after_ms
from crew_moe.state.memory.meters import MemoryMeters
from tests.execution.given import NOW

REQUESTS = Rate(name="requests", capacity=10, per_s=60.0)


def openai(what: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": limit,
        f"x-ratelimit-remaining-{what}": remaining,
        f"x-ratelimit-reset-{what}": reset,
    }


def anthropic(what: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    start = f"anthropic-ratelimit-{what}"
    return {f"{start}-limit": limit, f"{start}-remaining": remaining, f"{start}-reset": reset}


def told(headers: Mapping[str, str]) -> tuple[Told, ...]:
    return limits_told(headers, NOW)


def after(seconds: float) -> object:
    return NOW + timedelta(seconds=seconds)


def test_openai_tells_requests_and_tokens() -> None:
    headers = {**openai("requests", "5000", "4999", "12ms"), **openai("tokens", "160000", "159976", "9ms")}

    requests, tokens = told(headers)

    assert requests == Told(
        rate="requests", remaining=4_999, capacity=5_000, resets_at=NOW + timedelta(milliseconds=12)
    )
    assert (tokens.rate, tokens.remaining, tokens.capacity) == ("input_tokens", 159_976, 160_000)


def test_anthropic_tells_input_and_output_apart() -> None:
    reset = "2026-03-01T12:00:30Z"
    headers = {
        **anthropic("requests", "50", "49", reset),
        **anthropic("input-tokens", "30000", "29000", reset),
        **anthropic("output-tokens", "8000", "7000", reset),
        **anthropic("tokens", "38000", "36000", reset),  # both together, which says nothing new
    }

    assert [(one.rate, one.remaining, one.capacity, one.resets_at) for one in told(headers)] == [
        ("requests", 49, 50, after(30)),
        ("input_tokens", 29_000, 30_000, after(30)),
        ("output_tokens", 7_000, 8_000, after(30)),
    ]


def test_mistral_names_the_minute() -> None:
    headers = {
        "x-ratelimit-limit-req-minute": "720",
        "x-ratelimit-remaining-req-minute": "717",
        "x-ratelimit-limit-tokens-minute": "5000000",
        "x-ratelimit-remaining-tokens-minute": "4999911",
    }

    assert [(one.rate, one.remaining, one.capacity) for one in told(headers)] == [
        ("requests", 717, 720),
        ("input_tokens", 4_999_911, 5_000_000),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        openai("requests", "14400", "14370", "2m59.56s"),  # Groq: at this pace the whole takes a day
        {"x-ratelimit-limit-requests-day": "14400", "x-ratelimit-remaining-requests-day": "14370"},
        openai("requests", "5", "4", "200ms"),  # a second
        openai("requests", "100", "100", "0s"),  # nothing used: nobody knows
    ],
    ids=["day", "day by name", "second", "unused"],
)
def test_limit_of_another_period_is_not_taken_for_one_per_minute(headers: dict[str, str]) -> None:
    (one,) = told(headers)

    assert one.capacity is None
    assert one.remaining is not None


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h30m", 5_400.0),
        ("1d2h", 93_600.0),
        ("2m59.56s", 179.56),
        ("33011.38", 33_011.38),
        ("0", 0.0),
        ("1772366460", 60.0),
        ("1772366460000", 60.0),
        ("2026-03-01T12:00:10+00:00", 10.0),
        ("2026-03-01T11:00:00Z", 0.0),
    ],
)
def test_reset_is_read_in_every_form(reset: str, seconds: float) -> None:
    (one,) = told(openai("requests", "1000", "1", reset))

    assert one.resets_at == after(seconds)


@pytest.mark.parametrize("reset", ["", "soon", "-5s", "1e9", "10 s", "2026-03-01T12:00:10", "9" * 40, "9" * 15, "m"])
def test_reset_that_makes_no_sense_is_left_out(reset: str) -> None:
    (one,) = told(openai("requests", "1000", "1", reset))

    assert (one.remaining, one.resets_at) == (1, None)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json", "x-request-id": "7"},
        openai("tokens", "-1", "-1", "0"),  # Azure's word for unknown
        openai("requests", "many", "few", "1s"),
        openai("requests", "", "", ""),
        openai("requests", "9" * 16, "9" * 16, "1s"),
        anthropic("requests", "0", "0", "2026-03-01T12:00:30Z"),
    ],
)
def test_nonsense_tells_nothing(headers: dict[str, str]) -> None:
    assert told(headers) == ()


def test_moment_is_read_by_the_provider_s_own_clock() -> None:
    headers = {**anthropic("requests", "50", "49", "2026-03-01T13:00:30Z"), "date": "Sun, 01 Mar 2026 13:00:00 GMT"}

    assert told(headers)[0].resets_at == after(30)


def test_names_are_read_whatever_their_case() -> None:
    assert told({"X-RateLimit-Remaining": "7"}) == (Told(rate="requests", remaining=7),)


@pytest.mark.parametrize(("headers", "wait_s"), [
    (anthropic("requests", "10", "0", "2026-03-01T12:01:00Z"), 6.0),  # refills evenly: a tenth of a minute for one
    (openai("requests", "10", "0", "1m0s"), 6.0),
    (openai("requests", "10000", "0", "8h0m0s"), 8 * 3_600.0),  # of a day: nothing before the reset
])  # fmt: skip
def test_expert_without_requests_left_waits_as_long_as_it_has_to(headers: dict[str, str], wait_s: float) -> None:
    clock, meters = ManualClock(NOW), MemoryMeters()
    meters.tell("expert:a", told(headers), clock.now())

    found = meters.take((Demand(key="expert:a", rates=(REQUESTS,)),), clock.now())

    assert isinstance(found, Busy)
    assert found.until == after(wait_s)


@given(
    headers=st.dictionaries(
        st.sampled_from(
            [*openai("requests", "", "", ""), *anthropic("input-tokens", "", "", ""), "date", "retry-after"]
        ),
        st.text(max_size=30) | st.from_regex(r"[0-9]{1,18}(ms|s|m|h|d)?", fullmatch=True),
    )
)
def test_any_headers_are_read_or_left(headers: dict[str, str]) -> None:
    for one in limits_told(headers, NOW):
        assert one.remaining is not None or one.capacity is not None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "2"}, 2_000.0),
        ({"retry-after": "0.5"}, 500.0),
        ({"retry-after-ms": "750", "retry-after": "2"}, 750.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:10 GMT"}, 10_000.0),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        # The provider's clock is an hour ahead of ours: its own `Date` tells what it means.
        ({"retry-after": "Sun, 01 Mar 2026 13:00:10 GMT", "date": "Sun, 01 Mar 2026 13:00:00 GMT"}, 10_000.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: Mapping[str, str], expected: float | None) -> None:
    assert retry_after_ms(headers, NOW) == expected
