"""The programs that the chat benchmarks run side by side: a provider, our service, litellm's proxy; each a process."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from tests.benchmarks.litellm_peer import VENV, VERSION, PeerError, interpreter

START_S: Final = 120.0
CONFIG: Final = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/fast, api_base: "{url}", api_key: unused}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


@contextmanager
def provider() -> Iterator[int]:
    """The port of a provider that is never what anybody waits for."""
    command = [sys.executable, "-m", "tests.benchmarks.fast_provider"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise PeerError("the provider has no pipes")
        yield int(process.stdout.readline())
        process.communicate()


@contextmanager
def service(provider_port: int) -> Iterator[tuple[int, str]]:
    """The port of our service with one worker, and a key for it; its providers are all at that one port."""
    port, crew_moe = _free_port(), str(Path(sys.executable).with_name("crew-moe"))
    with tempfile.TemporaryDirectory() as folder:
        keys = str(Path(folder, "keys.yaml"))
        flags = ["--file", keys, "--subject", "bench", "--tenant", "bench", "--scope", "router:execute", "--json"]
        made = subprocess.run([crew_moe, "keys", "new", *flags], capture_output=True, check=True)
        env = {"CREW_MOE_SERVE_PROVIDERS": f"http://127.0.0.1:{provider_port}/v1", "CREW_MOE_API_KEYS": keys}
        serve = [crew_moe, "serve", "--port", str(port), "--state", ":memory:", "--rate", "1000000/second"]
        with _running(serve, env, f"http://127.0.0.1:{port}/health"):
            yield port, str(json.loads(made.stdout)["key"])


@contextmanager
def litellm_proxy(python: Path | None, provider_port: int, *, model: str) -> Iterator[tuple[int, str]]:
    """The port and the key of litellm's proxy with one worker, which knows one model: the provider's."""
    port, key = _free_port(), f"sk-{secrets.token_hex(24)}"
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        url = f"http://127.0.0.1:{provider_port}/v1"
        config.write_text(CONFIG.format(model=model, url=url, key=key), encoding="utf-8")
        program = str((python or _proxy_interpreter()).with_name("litellm"))
        command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        with _running(command, env, f"http://127.0.0.1:{port}/health/liveliness"):
            yield port, key


def _proxy_interpreter() -> Path:
    """The Python of litellm's environment, with what its proxy needs, installed on first use."""
    python, ready = interpreter(), VENV / f".ready-proxy-{VERSION}"
    if not ready.exists():
        install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", f"litellm[proxy]=={VERSION}"]
        if subprocess.run([str(python), *install], check=False).returncode:
            raise PeerError(f"failed: {' '.join(install)}")
        ready.touch()
    return python


@contextmanager
def _running(command: list[str], env: Mapping[str, str], alive: str) -> Iterator[None]:
    """A server, from its first answer at `alive` on."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    try:
        _wait(process, alive)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], alive: str) -> None:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError, HTTPException), urlopen(alive, timeout=5.0) as answer:  # noqa: S310 - loopback
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise PeerError(f"{Path(str(process.args[0])).name} did not start")  # type: ignore[index]  # a list of words


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
