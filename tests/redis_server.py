"""A real redis-server for the tests: one that a worker's tests share, and one for a test that kills it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PROGRAM: Final = "redis-server"
ADVICE: Final = f"the tests need {PROGRAM}, which is not installed; run: apt-get install redis-server"
PORTS: Final = range(20_000, 32_000)  # below those that a system gives to outgoing connections
PATIENCE_S: Final = 20.0


class RedisServer:
    """A server on loopback with its data in a folder: it keeps its port and its data over `kill` and `start`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        command = [PROGRAM, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder), "--save", ""]
        command += ["--appendonly", "yes", "--maxmemory-policy", "noeviction", *self._options]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self._ended_within(0.01) or time.monotonic() > deadline:
                said = (self._folder / "redis.log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"{PROGRAM} did not start:\n{said[-2000:]}")

    def stop(self) -> None:
        """End it in good order; idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it, and start it over the data that it had acknowledged."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """It answers nobody and hangs up on nobody until `thaw`: as a network that swallows everything."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """One command, and the first line of the answer."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            connection.sendall(request.encode())
            with connection.makefile("rb") as answer:
                return answer.readline().decode().strip()

    def _answers(self) -> bool:
        try:
            return self.ask("PING") == "+PONG"  # and not "-LOADING ...", while it reads its data
        except OSError:
            return False

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(number)
        if not self._ended_within(PATIENCE_S):
            self._process.kill()
            self._process.wait()
        self._process = None

    def _ended_within(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def _free_port() -> int:
    while True:
        port = PORTS[int.from_bytes(os.urandom(4), "big") % len(PORTS)]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def pytest_configure(config: pytest.Config) -> None:
    """A run by several workers fails here where the server is missing: their own words would not be heard."""
    if shutil.which(PROGRAM) is None and config.getoption("dist", "no") != "no":
        raise pytest.UsageError(ADVICE)


def _require_program(request: pytest.FixtureRequest) -> None:
    """Without the program the first test that needs it fails, and the run ends there."""
    if shutil.which(PROGRAM) is None:
        request.session.shouldfail = ADVICE
        pytest.fail(ADVICE, pytrace=False)


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server of all tests of one worker; a test that harms its server takes `mortal_redis`."""
    _require_program(request)
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty database."""
    assert redis_server.ask("FLUSHALL") == "+OK"
    return redis_server.url


@pytest.fixture
def mortal_redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server for this test alone, started, which may be stopped, killed, frozen and started again.

    It keeps all that it acknowledged: by default the last second may be lost where a disk is slow.
    """
    _require_program(request)
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, "--appendfsync", "always")
    server.start()
    yield server
    server.kill()
