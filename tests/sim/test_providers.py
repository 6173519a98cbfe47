"""The simulation as its users see it: ask, queue answers, kill, revive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from crew_moe.domain.registry import Registry
from crew_moe.errors import InvalidInput, SimulationError
from crew_moe.sim import Simulation, simulate

Ask = Callable[..., httpx.Response]


def test_expert_is_found_by_its_id_and_by_the_providers_name(sim: Simulation, ask: Ask) -> None:
    models = [ask(sim.base_url, model).json()["model"] for model in ("gpt-4o", "gpt-4o-2024-11-20")]

    assert models == ["gpt-4o-2024-11-20", "gpt-4o-2024-11-20"]
    assert [request.expert_id for request in sim.requests] == ["gpt-4o", "gpt-4o"]


def test_unknown_expert_gets_the_closest_match(sim: Simulation, ask: Ask) -> None:
    answer = ask(sim.base_url, "claude-opus")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "Did you mean 'claude-opus-4'?" in answer.json()["error"]["message"]


def test_requests_show_what_arrived_but_no_credentials(sim: Simulation) -> None:
    body = {"model": "o1", "messages": [{"role": "user", "content": "Hi"}], "user": "kim"}
    headers = {"Authorization": "Bearer sk-secret", "X-Api-Key": "sk-secret", "X-Request-ID": "r1"}
    httpx.post(f"{sim.base_url}/chat/completions", json=body, headers=headers)

    [request] = sim.requests
    assert (request.expert_id, request.provider, request.body) == ("o1", "openai", body)
    assert request.headers["x-request-id"] == "r1"
    assert "sk-secret" not in repr(request)
    assert request.at.tzinfo is not None


def test_queued_answers_are_given_once_each(sim: Simulation, ask: Ask) -> None:
    sim.reply_with("gpt-4o", "One.")
    sim.reply_with("gpt-4o", tool_calls=[{"name": "search", "arguments": {"query": "x"}}])
    choices = [ask(sim.base_url).json()["choices"][0] for _ in range(3)]

    assert choices[0]["message"]["content"] == "One."
    assert choices[1]["message"]["tool_calls"][0]["function"]["name"] == "search"
    assert [choice["finish_reason"] for choice in choices] == ["stop", "tool_calls", "stop"]


def test_queued_answer_waits_for_a_call_that_gets_it_whole(registry: Registry, ask: Ask) -> None:
    script = {"speed": 0, "rules": [{"error": "malformed", "to_call": 1}]}
    with simulate(script, registry=registry) as sim:
        sim.reply_with("gpt-4o", "One.")
        ask(sim.base_url)
        second = ask(sim.base_url)

    assert second.json()["choices"][0]["message"]["content"] == "One."


def test_models_are_listed_and_looked_up(sim: Simulation) -> None:
    listed = httpx.get(f"{sim.base_url}/models").json()["data"]
    one = httpx.get(f"{sim.base_url}/models/local/extractive").json()

    assert {model["id"] for model in listed} == set(sim.registry.by_id)
    assert one["owned_by"] == "local"
    assert httpx.get(f"{sim.base_url}/models/gpt-9").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/chat/completions", 405), ("POST", "/models", 405), ("POST", "/embeddings", 404)],
)
def test_other_addresses_are_refused(sim: Simulation, method: str, path: str, status: int) -> None:
    assert httpx.request(method, sim.base_url + path).status_code == status


def test_killed_provider_resets_on_the_shared_port(sim: Simulation, ask: Ask) -> None:
    sim.kill("anthropic")

    with pytest.raises(httpx.ReadError):
        ask(sim.base_url, "claude-opus-4")
    assert ask(sim.base_url, "gpt-4o").status_code == 200
    assert [request.fault for request in sim.requests] == ["dead", None]


def test_killed_provider_refuses_on_its_own_port_until_revived(sim: Simulation, ask: Ask) -> None:
    url = sim.base_url_of("anthropic")
    sim.kill("anthropic")

    with pytest.raises(httpx.ConnectError):
        ask(url, "claude-opus-4")
    sim.revive("anthropic")
    assert ask(url, "claude-opus-4").status_code == 200
    assert sim.base_url_of("anthropic") == url


def test_killed_expert_is_dead_alone(sim: Simulation, ask: Ask) -> None:
    sim.kill("claude-opus-4")

    for url in (sim.base_url, sim.base_url_of("anthropic")):
        with pytest.raises(httpx.ReadError):
            ask(url, "claude-opus-4")
        assert ask(url, "claude-sonnet-4").status_code == 200
    sim.revive("claude-opus-4")
    assert ask(sim.base_url, "claude-opus-4").status_code == 200


def test_killing_resets_the_calls_under_way(registry: Registry, ask: Ask) -> None:
    failures: list[Exception] = []

    def call(url: str) -> None:
        try:
            ask(url, "gpt-4o", timeout=30)
        except httpx.ReadError as error:
            failures.append(error)

    with simulate({"rules": [{"error": "timeout"}]}, registry=registry) as sim:
        caller = threading.Thread(target=call, args=(sim.base_url,))
        caller.start()
        sim.wait_for_requests(1)
        sim.kill("openai")
        caller.join(timeout=10)
        assert len(failures) == 1


def test_kept_connection_to_a_killed_provider_is_closed(sim: Simulation) -> None:
    body = {"model": "o1", "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.Client(base_url=sim.base_url_of("openai")) as client:
        assert client.post("/chat/completions", json=body).status_code == 200
        sim.kill("openai")
        with pytest.raises(httpx.TransportError):
            client.post("/chat/completions", json=body)


def test_a_providers_port_serves_only_its_experts(sim: Simulation, ask: Ask) -> None:
    assert ask(sim.base_url_of("openai"), "claude-opus-4").status_code == 404
    models = httpx.get(f"{sim.base_url_of('mistral')}/models").json()["data"]
    assert {model["owned_by"] for model in models} == {"mistral"}


def test_one_connection_serves_many_requests(sim: Simulation) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.Client(base_url=sim.base_url, limits=httpx.Limits(max_connections=1)) as client:
        statuses = [client.post("/chat/completions", json=body).status_code for _ in range(5)]

    assert statuses == [200] * 5


async def test_hundred_requests_at_once_are_all_answered(registry: Registry) -> None:
    async with simulate(registry=registry, speed=0.01) as sim, httpx.AsyncClient(timeout=30) as client:
        models = [expert.expert_id for expert in registry][:10] * 10

        async def one(number: int, model: str) -> str:
            body = {"model": model, "messages": [{"role": "user", "content": f"The door {number} is red."}]}
            answer = await client.post(f"{sim.base_url}/chat/completions", json=body)
            text: str = answer.json()["choices"][0]["message"]["content"]
            return text

        texts = await asyncio.gather(*(one(number, model) for number, model in enumerate(models)))

    assert texts == [f"The door {number} is red." for number in range(100)]
    assert sorted(request.number for request in sim.requests) == sorted(list(range(1, 11)) * 10)


async def test_faults_by_call_number_are_exact_under_concurrency(registry: Registry) -> None:
    script = {"speed": 0, "rules": [{"expert": "gpt-4o", "error": 500, "from_call": 11, "to_call": 30}]}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    async with simulate(script, registry=registry) as sim, httpx.AsyncClient(timeout=30) as client:
        calls = (client.post(f"{sim.base_url}/chat/completions", json=body) for _ in range(60))
        statuses = [answer.status_code for answer in await asyncio.gather(*calls)]

    assert (statuses.count(500), statuses.count(200)) == (20, 40)


def test_fault_of_our_own_is_a_logged_500(
    sim: Simulation, ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("crew_moe.sim.chat.compose", broken)

    assert ask(sim.base_url).status_code == 500
    assert "ZeroDivisionError" in caplog.text


def test_waiting_for_requests_ends_in_an_error_when_none_come(sim: Simulation) -> None:
    with pytest.raises(SimulationError, match="fewer than 1 requests arrived within 0 s"):
        sim.wait_for_requests(1, timeout_s=0)


def test_wrong_names_get_the_closest(sim: Simulation) -> None:
    uses: list[Callable[[], Any]] = [lambda: sim.kill("antropic"), lambda: sim.base_url_of("antropic")]
    for use in uses:
        with pytest.raises(InvalidInput, match="did you mean 'anthropic'"):
            use()
