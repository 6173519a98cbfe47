"""Local experts by their seed's names, and the notice that another one answered while they were down (seed 003)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import openai
import pytest

from crew_moe.catalog import load_registry
from crew_moe.clock import ManualClock
from crew_moe.router import Router
from crew_moe.service.openai_api.notes import NOTICE
from crew_moe.sim import Simulation, simulate
from tests.service.openai_api.chatting import ASK, Chat, chatting

LOCAL: Final = """
experts:
  local/byt5: &local
    provider: local
    provider_model: local/byt5
    base_url: %(url)s
    tier: fast
    quality: 0.6
    input_usd_per_mtok: "0"
    output_usd_per_mtok: "0"
    context_window: 8192
    max_output_tokens: 1024
    latency_p50_ms: 800
    capabilities: [streaming]
    named_only: true
    fallback: gpt-4o-mini
    source: played by these tests
    checked_on: 2026-11-20
  local/auto: {<<: *local, provider_model: local/auto, fallback: null}
  local/longformer: {<<: *local, provider_model: local/longformer, enabled: false}
"""
FIVE: Final = "breaker: {failures: 2, ejection_ms: 5000, max_ejection_ms: 5000}"


class Machine:
    """The machine with the local experts, which can be switched off and on again at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._running = ExitStack()

    def start(self) -> None:
        played = simulate(speed=0, registry=load_registry(self.folder), port=self.port)
        self._running.enter_context(played)

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path)
    (tmp_path / "experts.yaml").write_text(LOCAL % {"url": found.url}, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(FIVE, encoding="utf-8")
    yield found
    found.stop()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def chat(machine: Machine, sim: Simulation, clock: ManualClock) -> Iterator[Chat]:
    with (
        Router.from_config(machine.folder, state=":memory:", base_url=sim.base_url, clock=clock) as router,
        chatting(router) as found,
    ):
        yield found


@pytest.mark.parametrize("name", ["moe-expert-byt5", "moe-auto"])
def test_a_local_expert_answers_by_its_name(chat: Chat, machine: Machine, name: str) -> None:
    machine.start()
    done = chat.ask(name)
    assert (done.model, done.crew_moe["fallback"]) == (f"local/{name.rpartition('-')[2]}", None)


@pytest.mark.parametrize("stream", [False, True])
def test_the_notice_comes_when_it_is_down_and_goes_when_it_returns(
    chat: Chat, machine: Machine, clock: ManualClock, stream: bool
) -> None:
    assert told(chat, stream) == ("gpt-4o-mini", NOTICE)  # the call fails
    assert told(chat, stream) == ("gpt-4o-mini", NOTICE)
    assert told(chat, stream) == ("gpt-4o-mini", NOTICE)  # its breaker is open: nobody calls it
    machine.start()
    clock.advance(10)
    assert told(chat, stream) == ("local/byt5", None)
    machine.stop()
    assert told(chat, stream) == ("gpt-4o-mini", NOTICE)


def told(chat: Chat, stream: bool) -> tuple[str, str | None]:
    """Who answered, and the notice, which stands in the field and in the header alike."""
    body = {"model": "moe-expert-byt5", "messages": ASK, "stream": stream}
    answer = httpx.post(f"{chat.url}/v1/chat/completions", json=body)
    header = answer.headers.get("x-crew-moe-fallback")
    assert answer.status_code == 200, answer.text
    assert (NOTICE in answer.text) == (header == NOTICE)
    return answer.headers["x-crew-moe-expert"], header


def test_without_a_fallback_of_its_own_the_best_of_the_others_answers(chat: Chat) -> None:
    done = chat.ask("moe-auto")
    assert not done.model.startswith("local/")
    assert done.crew_moe["fallback"] == NOTICE


def test_the_clients_own_fallbacks_come_first(chat: Chat) -> None:
    assert chat.ask("moe-expert-byt5", hints={"fallbacks": ["command-r"]}).model == "command-r"


def test_a_text_that_may_not_leave_the_house_is_answered_by_nobody_else(chat: Chat) -> None:

    with pytest.raises(openai.APIStatusError) as failed:
        chat.ask(
            "moe-expert-byt5", hints={"pii": "local_only"}, messages=[{"role": "user", "content": "I am ann@x.org"}]
        )
    assert failed.value.code in ("no_expert_answered", "infeasible")


def test_one_that_is_switched_off_is_not_configured(chat: Chat) -> None:
    listed = {model.id: model.model_extra for model in chat.client.models.list() if model.id.startswith("moe-")}
    assert [(more or {})["crew_moe"]["configured"] for more in listed.values()] == [True, True, False]
