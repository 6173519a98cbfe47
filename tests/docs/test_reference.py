"""RUNBOOK.md leaves no command, option or environment variable out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import typer

from crew_moe.cli.app import app
from crew_moe.settings import Settings
from tests.docs.blocks import ROOT

RUNBOOK: Final = (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
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
