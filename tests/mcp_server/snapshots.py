"""What clients see of the server, as when somebody last looked: `python -m tests.mcp_server.snapshots` writes it.

A difference is a change of the interface: it belongs into the change log, and one that breaks clients needs a new
schema_version.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from fastmcp import Client

from crew_moe.router import Router
from mcp_server.exposure import Exposure
from mcp_server.tools import Toolset
from tests.mcp_server.running import server_of, wire

FOLDER: Final = Path(__file__).with_name("snapshots")
EVERYTHING: Final = Exposure(writes=True, toolsets=frozenset(Toolset), project=object())  # type: ignore[arg-type]


async def seen(client: Client[Any]) -> dict[str, Any]:
    """Everything that a client can list, by the name of its file."""
    tools = {tool.name: wire(tool) for tool in await client.list_tools()}
    reading = {
        "resources": [wire(one) for one in await client.list_resources()],
        "templates": [wire(one) for one in await client.list_resource_templates()],
        "prompts": [wire(one) for one in await client.list_prompts()],
    }
    for rows in reading.values():
        for row in rows:
            row.pop("_meta", None)  # fastmcp's own
    return {**tools, **reading}


def kept() -> dict[str, Any]:
    """The snapshots of the tree."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")}


async def _write() -> None:
    with Router.from_config(state=":memory:") as router:
        async with Client(server_of(router, EVERYTHING)) as client:
            now = await seen(client)
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, content in now.items():
        text = json.dumps(content, indent=2, sort_keys=True)
        (FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_write())
