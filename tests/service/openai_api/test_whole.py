"""Whole answers, as OpenAI's own client gets them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

import openai
import pytest
from pydantic import BaseModel

from crew_moe.auth.caller import AccessScope, Caller
from crew_moe.domain.principal import Principal
from crew_moe.router import Router
from crew_moe.sim import Simulation
from tests.service.openai_api.chatting import ASK, TEXT, Chat, chatting, sent

TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
}


def test_answer_says_who_served_and_what_it_cost(chat: Chat, sim: Simulation) -> None:
    sim.reply_with("gpt-4o", TEXT)
    done = chat.ask("gpt-4o", hints={"run_id": "r1"})

    (status,) = chat.router.budgets.status("run:r1")
    told = done.crew_moe
    assert (done.choices[0].message.content, done.choices[0].finish_reason, done.model) == (TEXT, "stop", "gpt-4o")
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0
    assert (told["expert_id"], told["fallback"], len(told["attempts"])) == ("gpt-4o", None, 1)
    assert Decimal(told["cost_usd"]) == status.settled_usd > 0
    assert chat.router.explain(told["decision_id"]).row["expert_id"] == "gpt-4o"


def test_headers_say_so_too(chat: Chat) -> None:
    told = chat.headers("gpt-4o")
    assert told["x-crew-moe-expert"] == "gpt-4o"
    assert told["x-crew-moe-decision"].startswith("d-")
    assert Decimal(told["x-crew-moe-cost-usd"]) > 0
    assert "x-crew-moe-fallback" not in told


async def test_asynchronous_client_works_too(chat: Chat) -> None:
    async with openai.AsyncOpenAI(base_url=f"{chat.url}/v1", api_key="unused") as client:
        done = await client.chat.completions.create(model="auto", messages=ASK)
    assert done.choices[0].message.content


@pytest.mark.parametrize("tier", ["fast", "baseline", "premium"])
def test_a_tier_is_asked_for_by_the_models_name(chat: Chat, tier: str) -> None:
    assert chat.router.registry[chat.ask(f"auto:{tier}").model].tier == tier


def test_routing_hints_bind_the_choice(chat: Chat) -> None:
    done = chat.ask(hints={"preferred_providers": ["mistral"], "max_tier": "fast", "task_type": "documentation"})
    assert chat.router.registry[done.model].tier == "fast"
    assert chat.router.explain(done.crew_moe["decision_id"]).row["features"]["task_type"] == "documentation"


def test_what_only_the_model_minds_goes_out_as_it_came(chat: Chat, sim: Simulation) -> None:
    given: dict[str, Any] = {
        "temperature": 0.3,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END"],
        "frequency_penalty": 0.1,
        "parallel_tool_calls": False,
        "metadata": {"ticket": "12"},
    }
    chat.ask("gpt-4o", max_tokens=300, tools=[TOOL], tool_choice="auto", **given)
    body = sent(sim)
    assert {name: body[name] for name in given} == given
    assert (body["max_tokens"], body["tools"], body["tool_choice"]) == (300, [TOOL], "auto")
    assert not {"user", "n", "stream", "crew_moe"} & body.keys()


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_answers_length_is_the_clients_to_say(chat: Chat, sim: Simulation, name: str) -> None:
    given: dict[str, Any] = {name: 5_000}
    chat.ask("gpt-4o", **given)
    assert sent(sim)["max_tokens"] == 5_000


def test_tool_calls_come_back(chat: Chat, sim: Simulation) -> None:
    sim.reply_with("gpt-4o", tool_calls=[{"name": "look", "arguments": {"q": "figures"}}])
    (choice,) = chat.ask("gpt-4o", tools=[TOOL]).choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content, call.function.name) == ("tool_calls", None, "look")
    assert json.loads(call.function.arguments) == {"q": "figures"}


def test_a_conversation_with_tool_calls_goes_on(chat: Chat, sim: Simulation) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    turns = [*ASK, {"role": "assistant", "content": None, "tool_calls": [call]}]
    turns.append({"role": "tool", "tool_call_id": "c1", "content": "42"})
    chat.ask("gpt-4o", messages=turns, tools=[TOOL])
    assert [message["role"] for message in sent(sim)["messages"]] == ["user", "assistant", "tool"]


def test_json_mode_and_schemas_pass_through(chat: Chat, sim: Simulation) -> None:
    class Finding(BaseModel):
        what: str

    sim.reply_with("gpt-4o", '{"what": "It goes well."}')
    done = chat.client.chat.completions.parse(model="gpt-4o", messages=ASK, response_format=Finding)
    assert done.choices[0].message.parsed == Finding(what="It goes well.")
    assert sent(sim)["response_format"]["type"] == "json_schema"

    sim.reply_with("gpt-4o", "{}")
    chat.ask("gpt-4o", response_format={"type": "json_object"})
    assert sent(sim)["response_format"] == {"type": "json_object"}


def test_an_answer_instead_of_another_says_so(chat: Chat, sim: Simulation) -> None:
    sim.kill("gpt-4o")
    try:
        done = chat.ask("gpt-4o", hints={"fallbacks": ["gpt-4o-mini"]})
        note = chat.headers("gpt-4o", extra_body={"crew_moe": {"fallbacks": ["gpt-4o-mini"]}})["x-crew-moe-fallback"]
    finally:
        sim.revive("gpt-4o")
    assert note == done.crew_moe["fallback"] == "gpt-4o-mini answered instead of gpt-4o (connection)"
    assert [row["error"] for row in done.crew_moe["attempts"]] == ["connection", None]


def test_an_authenticated_caller_spends_its_own_money_whatever_it_says(sim: Simulation) -> None:
    ann = Caller(principal=Principal(subject="ann", tenant="acme"), scopes=frozenset({AccessScope.EXECUTE}))
    with Router.from_config(state=":memory:", base_url=sim.base_url) as router, chatting(router, caller=ann) as chat:
        chat.ask(user="eve", hints={"tenant": "mallory"})
        assert {status.scope for status in router.budgets.status()} == {"tenant:acme", "user:acme/ann"}


def test_the_user_of_a_local_client_pays_by_name(chat: Chat) -> None:
    chat.ask(user="bob", hints={"tenant": "acme"})
    assert {status.scope for status in chat.router.budgets.status()} == {"tenant:acme", "user:acme/bob"}


def test_models_are_listed_by_every_name(chat: Chat) -> None:
    listed = {model.id: model for model in chat.client.models.list()}
    local = {name: model.model_extra for name, model in listed.items() if name.startswith("moe-")}
    assert {"auto", "auto:fast", "auto:baseline", "auto:premium", *chat.router.registry.by_id} < listed.keys()
    assert set(local) == {"moe-auto", "moe-expert-byt5", "moe-expert-longformer"}
    assert all(more == {"crew_moe": {"configured": True}} for more in local.values())
    assert chat.client.models.retrieve("local/extractive").owned_by == "local"
