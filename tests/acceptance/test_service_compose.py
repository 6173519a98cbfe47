"""Dockerfile, compose.yaml and prometheus.yaml: their own command lines, environment and checks, without Docker.

Only what a container gives is put in its place: names become loopback, ports free ones, paths those of a folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from crew_moe.catalog import load_registry
from crew_moe.service.server import CLOSING_S, options_of
from crew_moe.service.serving import SETTLE_S
from crew_moe.settings import PREFIX, Settings
from tests.service.program import PATIENCE_S, PROGRAM, Program, serving
from tests.waiting import until

pytestmark = pytest.mark.accept

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
ROUTER: Final[dict[str, Any]] = COMPOSE["services"]["router"]
REDIS: Final[dict[str, Any]] = COMPOSE["services"]["redis"]
CLIENT: Final = ("--tenant", "acme", "--subject", "ci", "--scope", "router:read", "--scope", "router:execute")
CHAT: Final = {"model": "auto", "messages": [{"role": "user", "content": "Say it."}]}


def stages() -> list[str]:
    """The stages of the Dockerfile, with an instruction a line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]


def instructions(name: str) -> list[str]:
    """What the last stage's instructions of this name say."""
    return re.findall(rf"^{name} (.*)$", stages()[-1], re.MULTILINE)


def environment() -> dict[str, str]:
    """The image's and the service's, as a host without any keys of providers fills it in."""
    image = dict(word.split("=", 1) for word in shlex.split(instructions("ENV")[0]))
    image.pop("PATH")
    return {**image, **{name: "" if value.startswith("${") else value for name, value in ROUTER["environment"].items()}}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the background; its words are in the folder."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Stack:
    """What compose starts, on this machine; `env` is the router's, `keys` its callers' by name."""

    folder: Path
    program: Program
    env: Mapping[str, str]
    keys: Mapping[str, str]
    redis_port: int

    def caller(self, name: str, **headers: str) -> httpx.Client:
        return self.program.client(headers={"Authorization": f"Bearer {self.keys[name]}", **headers})


def key_of(words: Sequence[str], env: Mapping[str, str], folder: Path) -> str:
    """What `crew-moe keys new` prints in the router's environment."""
    command = [*PROGRAM, *words]
    environ = {**os.environ, **env, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("compose")
    port = free_port()
    here = {
        "CREW_MOE_STATE": f"redis://127.0.0.1:{port}/0",
        "CREW_MOE_API_KEYS": str(folder / "keys.yaml"),
        "CREW_MOE_SERVE_HOST": "127.0.0.1",
    }
    env = {**environment(), **here}
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8").replace("\\\n#", " ")
    (told,) = re.findall(r"crew-moe (keys new .*) > prometheus\.key", text)
    keys = {"prometheus": key_of(shlex.split(told), env, folder), "ci": key_of(("keys", "new", *CLIENT), env, folder)}
    (folder / "prometheus.key").write_text(keys["prometheus"], encoding="utf-8")
    keys = {name: key.strip() for name, key in keys.items()}
    place = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with running([*REDIS["command"], *place], folder):
        checked(REDIS["healthcheck"]["test"], port)
        assert ROUTER["command"][:2] == ["crew-moe", "serve"]
        with serving(folder, *ROUTER["command"][2:], "--simulate", env=env) as program:
            yield Stack(folder, program, env, keys, port)


def checked(test: Sequence[str], port: int) -> None:
    """Compose's check of Redis passes, before long."""
    kind, program, *words = test
    assert kind == "CMD"
    command = [program, "-p", str(port), *words]
    until(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0)


def alive(stack: Stack) -> bool:
    """What the image's health check says of the service."""
    (told,) = instructions("HEALTHCHECK")
    command = json.loads(told[told.index("[") :])
    own = [word.replace("127.0.0.1:8005", stack.program.url.removeprefix("http://")) for word in command]
    assert own != command
    return subprocess.run([sys.executable, *own[1:]], capture_output=True, check=False).returncode == 0


def test_clients_come_in_with_their_keys_alone(stack: Stack) -> None:
    with stack.program.client() as stranger, stack.caller("ci") as client:
        assert stranger.post("/v1/chat/completions", json=CHAT).status_code == 401
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert client.get("/metrics").status_code == 403
        assert stranger.get("/ready").status_code == 200


def test_the_health_check_of_the_image_finds_it(stack: Stack) -> None:
    assert alive(stack)


def test_prometheus_finds_it_under_its_name_in_the_network(stack: Stack) -> None:
    (target,) = scraping()["static_configs"][0]["targets"]
    with stack.caller("prometheus", Host=target) as prometheus, stack.caller("prometheus", Host="evil") as other:
        assert prometheus.get("/metrics").status_code == 200
        assert other.get("/metrics").status_code == 421


def test_prometheus_gets_samples(stack: Stack) -> None:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("prometheus is not installed")
    port, config = free_port(), stack.folder / "prometheus.yml"
    text = (ROOT / "prometheus.yaml").read_text(encoding="utf-8")
    here = {
        "/run/secrets/prometheus": str(stack.folder / "prometheus.key"),
        "router:8005": stack.program.url.removeprefix("http://"),
        "scrape_interval: 10s": "scrape_interval: 1s",
    }
    for there, own in here.items():
        assert there in text
        text = text.replace(there, own)
    config.write_text(text, encoding="utf-8")
    subprocess.run(["promtool", "check", "config", str(config)], check=True, capture_output=True)  # noqa: S607 - on PATH
    place = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={stack.folder / 'data'}"]
    with running(["prometheus", f"--config.file={config}", *place], stack.folder), stack.caller("ci") as client:
        client.post("/api/v1/route", json={"text": "Say it."}).raise_for_status()
        asked = f"http://127.0.0.1:{port}/api/v1/query"
        until(lambda: value_of(asked, 'up{job="crew-moe"}') == 1)
        until(lambda: value_of(asked, "sum(moe_routing_total)") >= 1)


def value_of(url: str, query: str) -> float:
    """What Prometheus says a query comes to; 0 where it knows nothing yet."""
    try:
        rows = httpx.get(url, params={"query": query}).json()["data"]["result"]
    except (httpx.TransportError, ValueError, KeyError):
        return 0.0
    return float(rows[0]["value"][1]) if rows else 0.0


def scraping() -> dict[str, Any]:
    (job,) = yaml.safe_load((ROOT / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    return dict(job)


def test_the_stop_that_compose_gives_is_long_enough(stack: Stack) -> None:
    grace_s = int(ROUTER["stop_grace_period"].removesuffix("s"))

    assert grace_s > options_of(Settings()).drain_s + SETTLE_S + CLOSING_S
    assert stack.program.end() == 0
    assert not alive(stack)


def test_image_without_keys_says_so_instead_of_being_open(tmp_path: Path) -> None:
    env = {**os.environ, **environment(), "CREW_MOE_API_KEYS": "", "CREW_MOE_STATE": "", "PYTHONPATH": str(ROOT)}
    (told,) = instructions("CMD")

    done = subprocess.run(
        [*PROGRAM, *json.loads(told)[1:]], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: --host: 0.0.0.0 can be reached from other machines")


def test_every_variable_is_one_that_somebody_reads() -> None:
    own = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    keys = {expert.api_key_env for expert in load_registry() if expert.api_key_env}

    assert {name for name in environment() if name.startswith(PREFIX)} <= own
    assert {name for name in ROUTER["environment"] if not name.startswith(PREFIX)} == keys


def test_the_image_is_made_of_what_the_wheel_is_made_of() -> None:
    build, _ = stages()
    copied = {place for line in re.findall(r"^COPY (.*) \S+$", build, re.MULTILINE) for place in line.split()}

    assert copied == {
        "pyproject.toml", "constraints.txt", "README.md", "LICENSE",
        "crew_moe", "mcp_server", "agents_config", "fixtures/documents",
    }  # fmt: skip
    assert all((ROOT / place).exists() for place in copied)
