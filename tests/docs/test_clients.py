"""The configurations and programs that README gives to clients of other makers work as they stand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from fastmcp import Client

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import ALL_SCOPES
from crew_moe.router import Router
from crew_moe.settings import Settings
from mcp_server.server import PATH
from mcp_server.tools import TOOLS
from tests.auth.issuing import add_api_key
from tests.docs.blocks import DOCUMENTS, KEY, Block, Places, blocks
from tests.mcp_server.projects import written
from tests.mcp_server.running import environment, listening, server_of

SERVERS: Final = "mcpServers"
HTTP: Final = f"http://127.0.0.1:8006{PATH}"
PACKAGES: Final = Path(__file__).parents[1] / "acceptance" / "npm" / "package.json"
READS: Final = {row.name for row in TOOLS if row.effect.read_only}
ALL: Final = {row.name for row in TOOLS}


def _all(language: str) -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document, language)]


@contextmanager
def _reachable(block: Block, folder: Path) -> Iterator[dict[str, Any]]:
    """The configuration in a block, with the paths and the key of somebody who has a server."""
    keys = folder / "keys.yaml"
    key = add_api_key(keys, tenant=None, scopes=tuple(ALL_SCOPES))
    asking = Authenticator.from_settings(Settings(api_keys=keys))
    with Router.from_config(state=":memory:") as router, listening(server_of(router, authenticator=asking)) as url:
        text = block.text.replace("/path/to/.venv/bin/python", sys.executable).replace("/path/to", str(folder))
        told: dict[str, Any] = json.loads(text.replace(HTTP, url).replace(KEY, key))
        for server in told[SERVERS].values():
            if "command" in server:
                server["env"] = {**environment(), **server.get("env", {})}
        yield told


@pytest.mark.parametrize("block", _all("json"), ids=str)
async def test_mcp_configuration_gives_a_client_its_tools(block: Block, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    written(tmp_path / "config")
    writes = "--enable-writes" in block.text or HTTP in block.text

    with _reachable(block, tmp_path) as configuration:
        async with Client(configuration) as client:
            found = {tool.name for tool in await client.list_tools()}

    assert found == (ALL - {"execute_crew"} if HTTP in block.text else ALL if writes else READS)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of those clients."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(PACKAGES, folder)
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    return folder


@pytest.mark.accept
@pytest.mark.parametrize("block", _all("js"), ids=str)
def test_program_of_an_openai_client_says_who_served(block: Block, packages: Path, places: Places) -> None:
    program = packages / "program.mjs"
    program.write_text(places.put_into(block.text), encoding="utf-8")

    done = subprocess.run(["node", program], cwd=packages, capture_output=True, text=True, timeout=120, check=False)  # noqa: S607

    assert done.returncode == 0, done.stderr
    with Router.from_config(state=":memory:") as router:
        assert any(word in router.registry.by_id for word in done.stdout.split()), done.stdout
