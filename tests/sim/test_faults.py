"""Every failure as a client sees it, on a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from crew_moe.domain.registry import Registry
from crew_moe.sim import simulate
from tests.sim.conftest import FakeClock

Ask = Callable[..., httpx.Response]


def script(**rule: Any) -> dict[str, Any]:
    return {"speed": 0, "rules": [{"expert": "gpt-4o", **rule}]}


@pytest.mark.parametrize("status", [429, 500, 503, 401, 404])
def test_status_error(registry: Registry, ask: Ask, status: int) -> None:
    with simulate(script(error=status), registry=registry) as sim:
        answer = ask(sim.base_url)

    assert answer.status_code == status
    assert answer.json()["error"]["type"]


def test_rate_limit_says_when_to_come_back(registry: Registry, ask: Ask) -> None:
    with simulate(script(error=429, retry_after_s=1.5), registry=registry) as sim:
        answer = ask(sim.base_url)

    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("2", "1500")


@pytest.mark.parametrize("stream", [False, True])
def test_timeout(registry: Registry, ask: Ask, stream: bool) -> None:
    with simulate(script(error="timeout"), registry=registry) as sim, pytest.raises(httpx.ReadTimeout):
        ask(sim.base_url, timeout=0.05, stream=stream)


def test_latency_beyond_the_clients_patience_is_a_timeout(registry: Registry, ask: Ask) -> None:
    with simulate(script(latency_ms=60_000), registry=registry) as sim, pytest.raises(httpx.ReadTimeout):
        ask(sim.base_url, timeout=0.05)


def test_reset(registry: Registry, ask: Ask) -> None:
    with simulate(script(error="reset"), registry=registry) as sim, pytest.raises(httpx.ReadError):
        ask(sim.base_url)


def test_malformed_json_comes_with_status_200(registry: Registry, ask: Ask) -> None:
    with simulate(script(error="malformed"), registry=registry) as sim:
        answer = ask(sim.base_url)

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize("stream", [False, True])
def test_cut_stream_ends_before_its_promise(registry: Registry, ask: Ask, stream: bool) -> None:
    with (
        simulate(script(error="cut_stream"), registry=registry) as sim,
        pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"),
    ):
        ask(sim.base_url, stream=stream)


def test_cut_stream_delivers_its_first_words(registry: Registry) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "The door is red."}], "stream": True}
    read: list[str] = []

    def consume(url: str) -> None:
        with httpx.stream("POST", f"{url}/chat/completions", json=body) as answer:
            read.extend(line for line in answer.iter_lines() if line)

    with simulate(script(error="cut_stream"), registry=registry) as sim, pytest.raises(httpx.RemoteProtocolError):
        consume(sim.base_url)

    assert read[0].startswith("data: {")
    assert "data: [DONE]" not in read


def test_slow_drip_passes_a_read_timeout_but_takes_its_time(registry: Registry, ask: Ask) -> None:
    with simulate(script(error="slow_drip", drip_ms=2), registry=registry) as sim:
        answer = ask(sim.base_url, timeout=0.5)

    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.elapsed.total_seconds() >= 0.05


def test_error_by_call_number_passes(registry: Registry, ask: Ask) -> None:
    with simulate(script(error=429, to_call=2), registry=registry) as sim:
        statuses = [ask(sim.base_url).status_code for _ in range(3)]

    assert statuses == [429, 429, 200]
    assert [(request.number, request.fault) for request in sim.requests] == [(1, "429"), (2, "429"), (3, None)]


def test_error_by_time_follows_the_clock(registry: Registry, ask: Ask, clock: FakeClock) -> None:
    statuses = []
    with simulate(script(error=503, after_s=10, until_s=20), registry=registry, clock=clock) as sim:
        for clock.elapsed_s in (0.0, 10.0, 20.0):
            statuses.append(ask(sim.base_url).status_code)

    assert statuses == [200, 503, 200]


def test_other_experts_are_spared(registry: Registry, ask: Ask) -> None:
    with simulate(script(error=500), registry=registry) as sim:
        assert ask(sim.base_url, "claude-opus-4").status_code == 200


def test_shipped_outage_strikes_one_provider(registry: Registry, ask: Ask) -> None:
    with simulate("fixtures/outage.yaml", registry=registry, speed=0) as sim:
        statuses = {model: ask(sim.base_url, model).status_code for model in ("claude-opus-4", "gpt-4o")}

    assert statuses == {"claude-opus-4": 500, "gpt-4o": 200}


@pytest.mark.parametrize("stream", [False, True])
def test_share_of_the_input_comes_from_a_cache(registry: Registry, ask: Ask, stream: bool) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    with simulate(script(cached_share=0.5), registry=registry) as sim:
        answer = ask(sim.base_url, text="The door is red. " * 20, **options)

    last = answer.text.strip().split("data: ")[-2] if stream else answer.text
    usage = json.loads(last)["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] // 2 > 0
