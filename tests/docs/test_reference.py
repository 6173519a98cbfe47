"""RUNBOOK.md leaves nothing out that somebody may call, set, see or be told."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import pytest
import typer
from fastapi import FastAPI
from pydantic import BaseModel

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import AccessScope, Unauthorized
from crew_moe.catalog import learning_schema
from crew_moe.catalog.local import load_local
from crew_moe.catalog.local_schema import BatchEntry, CacheEntry, HostEntry, LocalFile
from crew_moe.catalog.local_schema import GateEntry as LocalGateEntry
from crew_moe.catalog.schema import BudgetsEntry, LimitEntry, ScreeningEntry
from crew_moe.cli.app import app
from crew_moe.domain.feed import FeedKind
from crew_moe.domain.local_work import Trouble
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.screening import Action
from crew_moe.gating.catalogue import CHECKS
from crew_moe.gating.config import ApprovalEntry, GateEntry
from crew_moe.local_gate.serving import LocalGate
from crew_moe.router import Router
from crew_moe.service import problem
from crew_moe.service.app import Parts, make_app
from crew_moe.service.conversation import Code
from crew_moe.service.local.app import make_local_app
from crew_moe.service.options import ServiceOptions
from crew_moe.settings import Settings
from crew_moe.strategies import STRATEGIES
from crew_moe.surface import fault
from crew_moe.surface.telemetry import Telemetry
from crew_moe.telemetry.events import ALARMS
from crew_moe.telemetry.metric_table import METRICS
from mcp_server.prompts import PROMPTS, PromptRow
from mcp_server.tools import TOOLS, ToolRow
from tests.docs.blocks import ROOT
from tests.structure.source import python_files, tree

RUNBOOK: Final = (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
EMITTERS: Final = {"emit", "_emit", "_warn", "_audit", "_tell"}
KEEPS_ROWS: Final = "budgets.py"  # its audit goes to the log alone
SERVERS: Final = {"serve": "crew-moe serve", "mcp": "crew-moe mcp", "local": "crew-moe local serve"}
SHARED: Final = {"--config", "--state", "--json", "--live", "--help"}


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command below `command` with its full name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, child in inner.items():
        yield from _walk(child, f"{name} {word}")


COMMANDS: Final = dict(_walk(typer.main.get_command(app), "crew-moe"))


def _section(name: str) -> str:
    """What RUNBOOK says under the command's own heading."""
    found = re.search(rf"^### `{re.escape(name)}`$(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert found is not None, f"RUNBOOK has no section for {name}"
    return found[1]


def _chapter(name: str) -> str:
    """What RUNBOOK says under a heading of the second level."""
    return RUNBOOK.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def _options(command: Any) -> set[str]:
    words = [word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)]
    return {word for word in words if word.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_a_section_with_its_own_options(name: str) -> None:
    section = _section(name)

    assert [option for option in sorted(_options(COMMANDS[name]) - SHARED) if f"`{option}" not in section] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_readme_names_the_command(name: str) -> None:
    assert f"`{name}`" in README


def test_shared_options_are_explained_once() -> None:
    shared = RUNBOOK.partition("## Commands")[2].partition("\n### ")[0]

    assert [option for option in sorted({*SHARED, "--debug", "--version"}) if f"`{option}" not in shared] == []


def test_section_names_no_option_that_does_not_exist() -> None:
    known = set().union(SHARED, {"--debug", "--version"}, *(_options(command) for command in COMMANDS.values()))

    assert sorted(set(re.findall(r"`(--[a-z-]+)", RUNBOOK)) - known) == []


@pytest.mark.parametrize("field", Settings.model_fields)
def test_environment_variable_is_explained(field: str) -> None:
    assert f"`CREW_MOE_{field.upper()}`" in RUNBOOK


@pytest.mark.parametrize("field", [name for name in Settings.model_fields if name.partition("_")[0] in SERVERS])
def test_variable_of_a_server_stands_with_its_command(field: str) -> None:
    assert f"`CREW_MOE_{field.upper()}`" in _section(SERVERS[field.partition("_")[0]])


def _sources() -> Iterator[Path]:
    yield from python_files("crew_moe")
    yield from python_files("mcp_server")


def _emitted() -> Iterator[str]:
    """The names that are given to sinks, wherever the package does."""
    for path in _sources():
        if path.name == KEEPS_ROWS:
            continue
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            name = node.args[0]
            if node.func.attr in EMITTERS and isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value


def test_every_event_is_explained() -> None:
    table = RUNBOOK.partition("## Events")[2].partition("\n## ")[0]
    explained = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }

    assert explained == set(_emitted())


@pytest.mark.parametrize("event", sorted(ALARMS))
def test_every_alarm_is_named(event: str) -> None:
    assert f"`{event}`" in _chapter("Events").partition("worth an alarm")[2]


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_of_the_gate_is_explained(name: str) -> None:
    assert re.search(rf"`{name}\b", RUNBOOK.partition("## The gate")[2].partition("\n### ")[0])


@pytest.mark.parametrize("action", Action)
def test_every_action_of_screening_is_explained(action: Action) -> None:
    assert f"\n| `{action}` | " in RUNBOOK.partition("## Screening")[2]


@pytest.mark.parametrize("entry", [BudgetsEntry, LimitEntry, ScreeningEntry, GateEntry, ApprovalEntry])
def test_every_key_of_the_guards_is_shown(entry: type[BaseModel]) -> None:
    shown = set(re.findall(r"\b\w+(?=:)", README + RUNBOOK)) | set(re.findall(r"`\w*\.?(\w+)`", README + RUNBOOK))

    assert sorted(set(entry.model_fields) - shown) == []


def _endpoints(make: Callable[[Parts], FastAPI]) -> Iterator[str]:
    """Every endpoint of an app, as its OpenAPI document names it."""
    telemetry = Telemetry.open(":memory:")
    with Router.from_config(state=":memory:") as router:
        parts = Parts(
            router=router,
            telemetry=telemetry,
            authenticator=Authenticator(),
            options=ServiceOptions(),
            state=":memory:",
        )
        paths = make(parts).openapi()["paths"]
        telemetry.close()
    yield from (f"{method.upper()} {path}" for path, item in paths.items() for method in item)


def _explained(chapter: str, heading: str) -> list[str]:
    """The endpoints that stand in a table under a heading."""
    rows = re.findall(r"^\| (`.*?) \|", _chapter(chapter).partition(f"### {heading}\n")[2], re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`((?:GET|POST|DELETE|WS) [^`]+)`", row)]


def test_every_endpoint_is_explained_and_no_other() -> None:
    told = _explained("The service", "Endpoints")

    assert sorted(told) == sorted([*_endpoints(make_app), "WS /ws/routing"])


def test_every_endpoint_of_the_local_gate_is_explained_and_no_other() -> None:
    engine = LocalGate.open(load_local())

    told = _explained("The local gate", "Its endpoints")

    assert sorted(told) == sorted(_endpoints(lambda parts: make_local_app(engine, parts)))


@pytest.mark.parametrize("entry", [LocalFile, HostEntry, LocalGateEntry, BatchEntry, CacheEntry])
def test_every_key_of_local_yaml_is_explained(entry: type[BaseModel]) -> None:
    keys = {info.alias or name for name, info in entry.model_fields.items()}

    assert sorted(key for key in keys if not re.search(rf"\b{key}[`:]", _chapter("The local gate"))) == []


@pytest.mark.parametrize("entry", learning_schema.Entry.__subclasses__())
def test_every_key_of_learning_is_explained(entry: type[BaseModel]) -> None:
    chapter = _chapter("Routing that learns")

    assert sorted(key for key in entry.model_fields if not re.search(rf"\b{key}\b", chapter)) == []


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_explained(name: str) -> None:
    assert f"`{name}`" in RUNBOOK or f"`strategy: {name}`" in RUNBOOK


@pytest.mark.parametrize("field", RoutingRequest.model_fields)
def test_every_field_of_a_request_is_explained(field: str) -> None:
    assert f"`{field}`" in _chapter("The service").partition("### Requests")[2].partition("```")[0]


@pytest.mark.parametrize("row", TOOLS, ids=lambda row: row.name)
def test_every_tool_stands_with_its_toolset_and_scope(row: ToolRow) -> None:
    assert f"\n| `{row.name}` | `{row.scope}` | {row.toolset} | " in _chapter("MCP")


@pytest.mark.parametrize("row", PROMPTS, ids=lambda row: row.name)
def test_every_prompt_is_explained(row: PromptRow) -> None:
    assert f"`{row.name}`" in _chapter("MCP")


@pytest.mark.parametrize("scope", AccessScope)
def test_every_scope_is_explained(scope: AccessScope) -> None:
    assert f"\n| `{scope}` | " in _chapter("Who may call")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_explained(name: str) -> None:
    assert f"\n| `{name}` | " in _chapter("Metrics")


@pytest.mark.parametrize("kind", FeedKind)
def test_every_kind_of_live_event_is_explained(kind: FeedKind) -> None:
    assert re.search(rf"^\| .*`{kind}`", _chapter("Live events"), re.MULTILINE)


@pytest.mark.parametrize("code", Code)
def test_every_code_that_ends_a_connection_is_explained(code: Code) -> None:
    assert re.search(rf"^\| {int(code)} \|", _chapter("Live events"), re.MULTILINE)


def _told_codes() -> Iterator[str]:
    """Every code that a fault may have: those of the tables, and those that stand where a fault is made."""
    tables = (row[1:3] for row in fault._KNOWN), fault._FAILED.values(), (fault._NOBODY,)
    yield from (str(code) for table in tables for code, *_ in table)
    yield from (*problem._CODES.values(), "http_error")
    yield from (str(trouble) for trouble in Trouble)
    yield from (f"credential_{code}" for code in get_args(get_type_hints(Unauthorized)["code"]))
    for path in _sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Fault":
                values = [word.value for word in node.keywords if word.arg == "code"]
                yield from (str(value.value) for value in values if isinstance(value, ast.Constant))


def test_every_code_of_an_error_is_explained_and_no_other() -> None:
    table = _chapter("The service").partition("### Errors")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(_told_codes())
