"""OpenAI's own client takes the simulated providers for real ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from crew_moe.sim import Simulation

ASK: Any = [{"role": "user", "content": "Read notes/a.md"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "read_doc",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


@pytest.fixture
def client(sim: Simulation) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sim.base_url, api_key="sk-test", max_retries=0) as running:
        yield running


def test_completion_and_usage(sim: Simulation, client: openai.OpenAI) -> None:
    sim.reply_with("gpt-4o", "Hello.")
    answer = client.chat.completions.create(model="gpt-4o", messages=ASK)

    assert answer.choices[0].message.content == "Hello."
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 2)


def test_stream_with_usage(sim: Simulation, client: openai.OpenAI) -> None:
    sim.reply_with("gpt-4o", "The door is red.")
    options: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True, stream_options=options))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "The door is red."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 8


def test_tool_call_round_trip(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model="gpt-4o", messages=ASK, tools=[TOOL]).choices[0].message
    assert first.tool_calls is not None
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "The door is red."}
    chat: Any = [*ASK, first.model_dump(), result]
    second = client.chat.completions.create(model="gpt-4o", messages=chat, tools=[TOOL]).choices[0]

    assert first.tool_calls[0].function.arguments == '{"path": "notes/a.md"}'  # type: ignore[union-attr]
    assert (second.finish_reason, second.message.content) == ("stop", "The door is red.")


def test_errors_are_the_clients_own_kinds(sim: Simulation, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean 'gpt-4o'"):
        client.chat.completions.create(model="gpt-4", messages=ASK)
    with pytest.raises(openai.BadRequestError, match="Unsupported parameter: 'temperature'"):
        client.chat.completions.create(model="o1", messages=ASK, temperature=0.3)
    sim.kill("openai")
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="gpt-4o", messages=ASK)
