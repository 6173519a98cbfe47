"""OpenAI's client talks to hosted experts by name, and seed 003's notice comes where another one answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from crew_moe.domain.local_work import Work
from crew_moe.service.openai_api.notes import NOTICE
from crew_moe.sim import Simulation, simulate
from tests.catalog.writing import folder
from tests.local_gate.engine_hosts import Upper
from tests.service.local.serving import Local, engine_of, serving
from tests.service.openai_api.chatting import text_of

ASK: Final[list[Any]] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "say abc"}]
LOCAL: Final = {"experts": {name: {"kind": "python", "class": "mine:Expert"} for name in ("upper", "down")}}


def fail(_: Sequence[str]) -> None:
    raise ConnectionError("gone")


class Down(Upper):
    """Never answers."""

    def __init__(self) -> None:
        super().__init__("down", act=fail)

    def stream(self, work: Work) -> Iterator[str]:
        fail([work.text])
        yield ""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("config"), local=LOCAL)


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


@pytest.fixture(scope="module")
def alone(config: Path) -> Iterator[Local]:
    """Nobody stands in for its experts."""
    with serving(engine_of(Upper(), Down()), config=config) as found:
        yield found


@pytest.fixture(scope="module")
def backed(config: Path, sim: Simulation) -> Iterator[Local]:
    """A remote expert stands in for its own."""
    engine = engine_of(Upper(), Down(), fallback="gpt-4o-mini")
    with serving(engine, config=config, base_url=sim.base_url) as found:
        yield found


def client_of(local: Local) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{local.url}/v1", api_key="unused", max_retries=0)


def ask(local: Local, model: str, **fields: Any) -> Any:
    """The answer; of a stream, its chunks."""
    with client_of(local) as client:
        done = client.chat.completions.create(model=model, messages=fields.pop("messages", ASK), **fields)
        return list(done) if fields.get("stream") else done


@pytest.mark.parametrize("messages", [[{"role": "user", "content": ""}], [{"role": "system", "content": "Be brief."}]])
def test_chat_without_a_question_asks_for_no_eyes(alone: Local, messages: list[Any]) -> None:
    assert ask(alone, "moe-expert-upper", messages=messages).choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", ["moe-auto", "local/auto", "moe-expert-upper", "local/upper"])
def test_a_hosted_expert_answers_by_its_names(alone: Local, model: str) -> None:
    done = ask(alone, model)

    assert (done.choices[0].message.content, done.crew_moe["fallback"]) == ("SAY ABC", None)
    assert done.model == ("local/auto" if model.endswith("auto") else "local/upper")
    assert done.usage.completion_tokens == 1


def test_an_answer_streams_as_it_is_made(alone: Local) -> None:
    new = [{"role": "user", "content": "in pieces"}]  # what is remembered comes in one
    chunks = ask(alone, "moe-expert-upper", stream=True, messages=new)

    assert text_of(chunks) == "IN PIECES"
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) == len("IN PIECES")


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_word_ends_an_answer(alone: Local, stream: bool) -> None:
    done = ask(alone, "moe-expert-upper", stop=["AB"], stream=stream)

    assert (text_of(done) if stream else done.choices[0].message.content) == "SAY "


def test_the_list_has_every_hosted_expert_and_nobody_else(alone: Local) -> None:
    with client_of(alone) as client:
        listed = {model.id for model in client.models.list()}

    local = {"local/auto", "local/upper", "local/down"}
    assert listed == {*local, "moe-auto", "moe-expert-upper", "moe-expert-down", *SEEDS}


SEEDS: Final = ("moe-expert-byt5", "moe-expert-longformer")


@pytest.mark.parametrize(
    ("model", "code"), [("gpt-4o", "unknown_expert"), ("auto", "unknown_expert"), ("moe-expert-byt5", "not_configured")]
)
def test_no_other_model_is_to_be_had_here(alone: Local, model: str, code: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        ask(alone, model)

    assert refused.value.code == code


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_fallback_an_outage_is_told(alone: Local, stream: bool) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        ask(alone, "moe-expert-down", stream=stream)

    assert failed.value.code == "no_expert_answered"


@pytest.mark.parametrize("stream", [False, True])
def test_the_fallback_answers_a_chat_with_the_notice(backed: Local, stream: bool) -> None:
    with client_of(backed) as client:
        raw = client.chat.completions.with_raw_response.create(model="moe-expert-down", messages=ASK, stream=stream)

    assert raw.headers["x-crew-moe-expert"] == "gpt-4o-mini"
    assert raw.headers["x-crew-moe-fallback"] == NOTICE


def test_a_router_that_asks_for_a_hosted_expert_gets_no_fallback(backed: Local, sim: Simulation) -> None:
    before = len(sim.requests)

    with pytest.raises(openai.InternalServerError):
        ask(backed, "local/down")

    assert len(sim.requests) == before


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_that_may_not_leave_gets_no_fallback(backed: Local, sim: Simulation, stream: bool) -> None:
    before = len(sim.requests)

    with pytest.raises(openai.APIStatusError):
        ask(backed, "moe-expert-down", stream=stream, extra_body={"crew_moe": {"pii": "local_only"}})

    assert len(sim.requests) == before


def test_the_fallback_answers_a_text_with_the_notice(backed: Local, sim: Simulation) -> None:
    row = backed.process("a text", expert="down").json()

    assert (row["expert_used"], row["notice"]) == ("gpt-4o-mini", NOTICE)
    assert row["result"]
    assert sim.requests[-1].body["messages"][-1]["content"] == "a text"


def test_texts_and_chats_are_counted_by_expert(alone: Local) -> None:
    assert alone.process("count me", expert="upper").status_code == 200
    assert alone.process("count me", expert="down").status_code == 503
    ask(alone, "moe-expert-upper")

    lines = alone.client.get("/metrics").text.splitlines()

    counted = {name for name in lines if name.startswith("crew_moe_attempts_total{")}
    assert any('expert_id="local/upper",result="ok"' in name for name in counted), counted
    assert any('expert_id="local/down",result="connection"' in name for name in counted), counted


def test_who_serves_has_no_notice(backed: Local) -> None:
    assert backed.process("a text", expert="upper").json()["notice"] is None
    assert ask(backed, "moe-expert-upper").crew_moe["fallback"] is None


@pytest.mark.parametrize("fields", [{"fallback": False}, {"task": "embed"}, {"text": "\0"}])
def test_a_text_that_is_to_stay_or_is_wrong_is_sent_nowhere(backed: Local, sim: Simulation, fields: Any) -> None:
    before = len(sim.requests)

    told = backed.client.post("/process/sync", json={"text": "a text", "expert": "down", **fields})

    assert told.status_code in (200, 422, 503)
    assert len(sim.requests) == before


def test_a_fallback_that_fails_too_is_told_with_the_first_fault(config: Path) -> None:
    engine = engine_of(Down(), fallback="gpt-4o-mini")
    with serving(engine, config=config) as found:
        told = found.process("a text").json()

    assert (told["status"], told["code"]) == (503, "unavailable")
    assert told["fallback"].startswith("gpt-4o-mini: ")
