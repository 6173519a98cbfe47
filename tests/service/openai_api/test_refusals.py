"""What goes wrong, in the shape and with the statuses by which OpenAI's clients know it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from crew_moe import Router
from crew_moe.sim import Simulation
from tests.catalog.writing import folder
from tests.service.openai_api.chatting import ASK, Chat, chatting


def refused(chat: Chat, kind: type[openai.APIStatusError], model: str = "auto", **fields: Any) -> dict[str, Any]:
    """The error that a request gets: what stands in its body."""
    with pytest.raises(openai.APIStatusError) as failed:
        chat.ask(model, **fields)
    assert type(failed.value) is kind
    assert isinstance(failed.value.body, dict)
    return failed.value.body


def test_a_model_that_there_is_not_is_told_with_the_closest(chat: Chat) -> None:
    told = refused(chat, openai.NotFoundError, "gpt-4o-min")
    assert (told["type"], told["code"], told["param"]) == ("invalid_request_error", "unknown_expert", "model")
    assert told["crew_moe"]["closest"] == "gpt-4o-mini"
    assert "auto:premium" in told["crew_moe"]["allowed"]


def test_an_expert_of_the_hints_that_there_is_not_is_told_too(chat: Chat) -> None:
    assert refused(chat, openai.NotFoundError, hints={"fallbacks": ["gpt-9"]})["param"] == "fallbacks"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Chat]:
    """A service whose catalogue has the local experts switched off."""
    off = {f"local/{name}": {"enabled": False} for name in ("auto", "byt5", "longformer")}
    router = Router.from_config(folder(tmp_path, experts={"experts": off}), state=":memory:")
    with router, chatting(router) as found:
        yield found


@pytest.mark.parametrize("name", ["moe-auto", "moe-expert-byt5", "moe-expert-longformer"])
def test_a_local_model_without_an_expert_is_not_configured(bare: Chat, name: str) -> None:
    told = refused(bare, openai.NotFoundError, name)
    assert (told["code"], told["param"]) == ("not_configured", "model")
    assert f"local/{name.rpartition('-')[2]}" in told["crew_moe"]["next_step"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"hints": {"min_quality": 2.0}}, "crew_moe.min_quality"),
        ({"hints": {"min_qualty": 0.5}}, "crew_moe"),
        ({"model": "gpt-4o", "hints": {"pin": "gpt-5"}}, "crew_moe.pin"),
        ({"extra_body": {"crew_moe": 3}}, "crew_moe"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"temperature": -1}, "temperature"),
        ({"messages": []}, "messages"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"user": ""}, "user"),
    ],
)
def test_a_wrong_field_is_named(chat: Chat, sim: Simulation, fields: dict[str, Any], param: str) -> None:
    before = len(sim.requests)
    told = refused(chat, openai.UnprocessableEntityError, **fields) if "extra_body" not in fields else raw(chat, fields)
    assert told["code"] in ("invalid_request", "unknown_expert")
    assert told["param"] == param
    assert len(sim.requests) == before


def raw(chat: Chat, fields: dict[str, Any]) -> dict[str, Any]:
    """The error for a body that the client's own types would not let through."""
    body = {"model": "auto", "messages": ASK, **fields["extra_body"]}
    answer = httpx.post(f"{chat.url}/v1/chat/completions", json=body)
    assert answer.status_code == 422
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_a_field_that_can_not_be_passed_on_is_refused_by_name(chat: Chat) -> None:
    error = raw(chat, {"extra_body": {"functions": []}})
    assert "unknown field 'functions'" in error["message"]
    assert "tools" in error["crew_moe"]["allowed"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"model": 1}', b'"x"'])
def test_what_is_no_request_is_refused(chat: Chat, body: bytes) -> None:
    answer = httpx.post(f"{chat.url}/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("stream", [False, True])
def test_what_nobody_may_serve_is_told_with_what_binds(chat: Chat, stream: bool) -> None:
    hints = {"min_quality": 0.99, "budget_usd": "0.0000001"}
    told = refused(chat, openai.ConflictError, stream=stream, hints=hints)
    assert (told["code"], told["crew_moe"]["binding"]) == ("infeasible", "min_quality")
    assert told["crew_moe"]["nearest"]["expert_id"] in chat.router.registry.by_id


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_that_is_used_up_has_its_own_status(chat: Chat, stream: bool) -> None:
    chat.router.budgets.set("tenant:acme", "0.0000001")
    told = refused(chat, openai.APIStatusError, "gpt-5", stream=stream, hints={"tenant": "acme"})
    assert (told["code"], told["type"]) == ("over_budget", "insufficient_quota")
    assert told["crew_moe"]["attempts"][0]["detail"].startswith("tenant:acme has")


@pytest.mark.parametrize("stream", [False, True])
def test_nobodys_answer_is_told_once_and_not_asked_for_again(chat: Chat, sim: Simulation, stream: bool) -> None:
    sim.kill("gpt-4o")
    before = len(sim.requests)
    try:
        told = refused(chat, openai.InternalServerError, "gpt-4o", stream=stream)
    finally:
        sim.revive("gpt-4o")
    assert (told["code"], told["crew_moe"]["attempts"][0]["expert_id"]) == ("no_expert_answered", "gpt-4o")
    attempts = [row for row in told["crew_moe"]["attempts"] if row["error"] == "connection"]
    assert len(sim.requests) - before == len(attempts)  # the client was told not to retry


def test_no_error_quotes_the_conversation(chat: Chat) -> None:
    secret = [{"role": "user", "content": "the password is xyzzy"}]
    wrong, infeasible = openai.UnprocessableEntityError, openai.ConflictError
    for kind, fields in (
        (wrong, {"temperature": "xyzzy"}),
        (wrong, {"stop": [{"xyzzy": 1}]}),
        (infeasible, {"hints": {"min_quality": 0.999}}),
    ):
        assert "xyzzy" not in str(refused(chat, kind, messages=secret, **fields))


def test_a_caller_reads_the_models_name_that_it_asked_about(chat: Chat) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        chat.client.models.retrieve("gpt-9")
