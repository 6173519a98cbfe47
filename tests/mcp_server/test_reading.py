"""Resources and prompts: what can be read without a tool."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastmcp import Client

from crew_moe.router import Router
from tests.mcp_server.running import wire

Mcp = Client[Any]
NOBODY = ("nobody", "..%2f..%2fetc%2fpasswd", "%2e%2e%2fpolicy", "gpt-4o%00", "a" * 5000)


async def _read(client: Mcp, uri: str) -> Any:
    contents: list[Any] = await client.read_resource(uri)
    (content,) = contents
    assert wire(content)["mimeType"] == "application/json"
    return json.loads(content.text)


async def test_registry_is_the_catalogue(client: Mcp, router: Router) -> None:
    told = await _read(client, "router://registry")

    assert told["digest"] == router.registry.digest
    assert [one["expert_id"] for one in told["experts"]] == [expert.expert_id for expert in router.registry]


async def test_policy_is_the_one_in_force(client: Mcp, router: Router) -> None:
    told = await _read(client, "router://policy")

    assert (told["version"], told["strategy"]) == (router.policy.version, router.policy.strategy)


@pytest.mark.parametrize("expert_id", ["gpt-4o", "local%2Fextractive"])
async def test_expert_comes_with_its_health(client: Mcp, expert_id: str) -> None:
    told = await _read(client, f"router://experts/{expert_id}")

    assert told["expert"]["expert_id"] == told["health"]["expert_id"] == expert_id.replace("%2F", "/")


@pytest.mark.parametrize("expert_id", NOBODY)
async def test_id_that_nobody_has_reads_nothing(client: Mcp, expert_id: str) -> None:
    with pytest.raises(Exception, match=r"unknown_expert|not found|Unknown resource"):
        await client.read_resource(f"router://experts/{expert_id}")


async def test_prompts_carry_their_argument(client: Mcp) -> None:
    given = {"triage_task": {"task": "Audit {it}"}, "explain_route": {"decision_id": "d-1"}}

    for prompt in await client.list_prompts():
        (argument,) = prompt.arguments or []
        rendered: Any = await client.get_prompt(prompt.name, given[prompt.name])
        assert argument.required
        assert argument.description
        assert given[prompt.name][argument.name] in rendered.messages[0].content.text


@pytest.mark.parametrize("arguments", [{}, {"task": "x", "other": "y"}, {"tsk": "x"}])
async def test_prompt_takes_its_argument_and_no_other(client: Mcp, arguments: dict[str, str]) -> None:
    with pytest.raises(Exception, match="takes one argument; valid: task"):
        await client.get_prompt("triage_task", arguments)
