"""`crew-moe mcp` says what is wrong with its options before it serves anybody."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

WRONG = {
    "transport": (("--transport", "sse"), "--transport: 'sse' is not known; allowed: stdio, http"),
    "toolset": (("--toolsets", "routing,bugdet"), "did you mean 'budget'?"),
    "crew, read-only": (("--toolsets", "crew"), "allowed: --enable-writes"),
    "crew without a project": (("--toolsets", "crew", "--enable-writes"), "allowed: --project DIR"),
    "open to the world": (("--transport", "http", "--host", "0.0.0.0"), "CREW_MOE_API_KEYS"),  # noqa: S104 - refused
    "rate": (("--transport", "http", "--rate", "many"), "--rate: is no rate"),
    "port": (("--transport", "http", "--port", "70000"), "65535"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_option_is_told(cli: Cli, kind: str) -> None:
    options, told = WRONG[kind]

    done = cli("mcp", *options)

    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CREW_MOE_MCP_TRANSPORT", "sse"),
        ("CREW_MOE_MCP_PORT", "many"),
        ("CREW_MOE_MCP_ENABLE_WRITES", "perhaps"),
        ("CREW_MOE_MCP_TOOLSETS", "bugdet"),
    ],
)
def test_wrong_variable_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)

    done = cli("mcp")

    assert done.code == 2
    assert variable in done.err or f"'{value}'" in done.err


def test_wrong_project_is_told(cli: Cli, tmp_path: Path) -> None:
    done = cli("mcp", "--toolsets", "crew", "--enable-writes", "--project", tmp_path)

    assert done.code == 2
    assert str(tmp_path) in done.err


def test_missing_extra_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = util.find_spec

    def without_fastmcp(name: str, package: str | None = None) -> Any:
        return None if name == "fastmcp" else found(name, package)

    monkeypatch.setattr("crew_moe.cli.mcp.find_spec", without_fastmcp)

    done = cli("mcp")

    assert (done.code, done.err) == (2, "error: 'fastmcp' is not installed; run: pip install 'crew-moe[mcp]'\n")
