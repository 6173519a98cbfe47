"""What goes wrong is told in one sentence and in parts, and nothing of it is logged but its code."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastmcp import Client

from crew_moe.router import Router
from crew_moe.telemetry.events import Recorder
from mcp_server.logs import TALKATIVE, tame_libraries
from mcp_server.tools import TOOLS

Mcp = Client[Any]
SECRET = "the-secret-of-acme"
LIBRARIES = ("pydantic", "traceback", "validationerror", "errors.")
WRONG: dict[str, tuple[str, dict[str, Any], str, str | None]] = {
    "unknown field": ("suggest_route", {"task_typ": "planning"}, "invalid_request", "task_type"),
    "a name of Python's own": ("list_experts", {"self": 1}, "invalid_request", None),
    "the same": ("suggest_route", {"self": 1, "cls": 2}, "invalid_request", None),
    "unknown word": ("suggest_route", {"task_type": "plannin"}, "invalid_request", "planning"),
    "wrong type": ("suggest_route", {"min_quality": "high"}, "invalid_request", None),
    "no number": ("set_override", {"expert_id": "o1", "minutes": -3}, "invalid_request", None),
    "required": ("explain_decision", {}, "invalid_request", None),
    "unknown expert": ("expert_health", {"expert_id": "gpt-4"}, "unknown_expert", "gpt-4o"),
    "unknown decision": ("explain_decision", {"decision_id": "d-none-1"}, "unknown_decision", None),
    "unknown row field": ("list_experts", {"fields": ["tiers"]}, "invalid_request", "tier"),
    "forged cursor": ("list_experts", {"cursor": "!!"}, "unknown_cursor", None),
    "no scope": ("budget_status", {"scope": "tenat:acme"}, "invalid_input", "tenant"),
    "nothing named": ("clear_override", {}, "invalid_request", None),
    "unknown tool": ("suggest_rout", {}, "unknown_tool", "suggest_route"),
}


@pytest.fixture
def tamed() -> Iterator[None]:
    """Libraries' loggers as the server sets them; as they were afterwards."""
    root = logging.getLogger()
    usual = {name: (logger.handlers[:], logger.level, logger.propagate) for name, logger in _loggers()}
    before = root.handlers[:], root.level
    tame_libraries()
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = before[0], before[1]
    for name, (handlers, level, propagate) in usual.items():
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def _loggers() -> list[tuple[str, logging.Logger]]:
    return [(name, logging.getLogger(name)) for name in TALKATIVE]


async def _fault(client: Mcp, tool: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    answer: Any = await client.call_tool(tool, arguments, raise_on_error=False)
    assert answer.is_error
    return answer.content[0].text, answer.meta["error"]


@pytest.mark.parametrize("kind", WRONG)
async def test_fault_is_a_sentence_and_its_parts(client: Mcp, kind: str) -> None:
    tool, arguments, code, closest = WRONG[kind]

    sentence, error = await _fault(client, tool, arguments)

    assert sentence.startswith(f"{code}: ")
    assert (error["code"], error["closest"]) == (code, closest)
    assert all(word in sentence for word in (error["message"], *error["allowed"]))
    assert error["next_step"] in sentence
    assert [word for word in LIBRARIES if word in (sentence + json.dumps(error)).lower()] == []


@pytest.mark.usefixtures("tamed")
@pytest.mark.parametrize("row", TOOLS, ids=lambda row: row.name)
async def test_arguments_reach_no_log(
    row: Any, client: Mcp, sink: Recorder, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await client.call_tool(row.name, {SECRET: SECRET, "text": SECRET}, raise_on_error=False)
    await client.call_tool(row.name, {name: [SECRET] for name in row.takes.model_fields}, raise_on_error=False)

    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err + caplog.text + repr(sink.events)
    assert "Traceback" not in printed.out + printed.err


async def test_call_is_logged_with_its_code_and_caller(client: Mcp, sink: Recorder) -> None:
    await client.call_tool("expert_health", {"expert_id": "nobody"}, raise_on_error=False)

    (fields,) = [fields for event, fields in sink.events if event == "tool_called"]
    assert (fields["tool"], fields["by"], fields["fault"]) == ("expert_health", "local", "unknown_expert")
    assert fields["took_ms"] > 0


@pytest.mark.usefixtures("tamed")
async def test_what_nobody_foresaw_is_answered_without_its_words(
    client: Mcp, router: Router, sink: Recorder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def breaks() -> Any:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(router, "health", breaks)

    sentence, error = await _fault(client, "expert_health", {})

    assert (error["code"], SECRET in sentence) == ("failed", False)
    assert ("tool_failed", {"tool": "expert_health", "kind": "ZeroDivisionError"}) in sink.events
    printed = capfd.readouterr()
    assert (SECRET in printed.err, "Traceback" in printed.err, printed.out) == (False, False, "")
