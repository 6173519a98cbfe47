"""The npm clients of OpenAI's API work over the router: `openai`, and the Vercel AI SDK."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from crew_moe.router import Router
from crew_moe.sim import Simulation, simulate
from tests.service.openai_api.chatting import TEXT, Chat, chatting

pytestmark = pytest.mark.accept

PROGRAMS: Final = Path(__file__).with_name("npm")
LOOK: Final = {"name": "look", "arguments": {"q": "figures"}}
FINDING: Final = {"what": "It goes well."}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs and the packages that they stand on."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm") / "clients"
    shutil.copytree(PROGRAMS, folder)
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    return folder


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


@pytest.fixture
def chat(sim: Simulation) -> Iterator[Chat]:
    with Router.from_config(state=":memory:", base_url=sim.base_url) as router, chatting(router) as found:
        yield found


def told(folder: Path, program: str, chat: Chat) -> dict[str, Any]:
    """What a program says of its answers."""
    node = shutil.which("node") or "node"
    command = [node, program, f"{chat.url}/v1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_openai_package_gets_answers_streams_tools_and_errors(installed: Path, chat: Chat, sim: Simulation) -> None:
    for text in (TEXT, TEXT):
        sim.reply_with("gpt-4o", text)
    sim.reply_with("gpt-4o", tool_calls=[LOOK])
    sim.reply_with("gpt-4o", json.dumps(FINDING))

    seen = told(installed, "openai.mjs", chat)

    (spent,) = chat.router.budgets.status("run:npm")
    assert seen["whole"] | {"tokens": 0} == {
        "text": TEXT,
        "model": "gpt-4o",
        "cost": f"{spent.settled_usd:f}",
        "decision": True,
        "tokens": 0,
    }
    assert (seen["streamed"]["text"], seen["streamed"]["pieces"] > 5, seen["streamed"]["tokens"] > 0) == (
        TEXT,
        True,
        True,
    )
    assert seen["tools"] == {**LOOK, "finish": "tool_calls"}
    assert seen["json"] == FINDING
    assert seen["refused"] == {"kind": "NotFoundError", "status": 404, "code": "unknown_expert", "param": "model"}
    assert {"auto", "auto:fast", "gpt-4o", "moe-expert-byt5"} <= set(seen["models"])


def test_the_vercel_ai_sdk_gets_them_too(installed: Path, chat: Chat, sim: Simulation) -> None:
    for text in (TEXT, TEXT):
        sim.reply_with("gpt-4o", text)
    sim.reply_with("gpt-4o", tool_calls=[LOOK])
    for text in (TEXT, json.dumps(FINDING)):
        sim.reply_with("gpt-4o", text)

    seen = told(installed, "vercel.mjs", chat)

    (spent,) = chat.router.budgets.status("run:npm")
    assert seen["whole"].pop("tokens") > 0
    assert seen["whole"] == {"text": TEXT, "expert": "gpt-4o", "cost": f"{spent.settled_usd:f}", "model": "gpt-4o"}
    assert (seen["streamed"]["text"], seen["streamed"]["finish"]) == (TEXT, "stop")
    assert seen["streamed"]["pieces"] > 5
    assert seen["tools"] == {"text": TEXT, "input": LOOK["arguments"], "output": "found figures", "steps": 2}
    assert seen["json"] == FINDING
    assert seen["refused"] == {"isCallError": True, "status": 404, "again": False, "data": "unknown_expert"}
