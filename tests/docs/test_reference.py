"""RUNBOOK.md leaves no command, option, environment variable, event, check or key of the guards out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import typer
from pydantic import BaseModel

from crew_moe.catalog.schema import BudgetsEntry, LimitEntry, ScreeningEntry
from crew_moe.cli.app import app
from crew_moe.domain.screening import Action
from crew_moe.gating.catalogue import CHECKS
from crew_moe.gating.config import ApprovalEntry, GateEntry
from crew_moe.settings import Settings
from tests.docs.blocks import ROOT
from tests.structure.source import python_files, tree

RUNBOOK: Final = (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
EMITTERS: Final = {"emit", "_emit", "_warn", "_audit"}
KEEPS_ROWS: Final = "budgets.py"  # its audit goes to the log alone
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


def _options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


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


def _emitted() -> Iterator[str]:
    """The names that are given to sinks, wherever the package does."""
    for path in python_files("crew_moe"):
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
