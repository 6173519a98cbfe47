"""What holds for every test: no network but loopback, no keys from outside, and skips that are accounted for."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
REDIS = Path(__file__).with_name("redis_server.py")
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")  # noqa: S104 - compared with, never bound
OFFLINE = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}


def _forget_the_outside(patch: pytest.MonkeyPatch) -> None:
    """A test must not depend on, or spend with, the keys and settings of whoever runs it."""
    for name in [name for name in os.environ if name.endswith("_API_KEY") or name.startswith("CREW_MOE_")]:
        patch.delenv(name)
    for name, value in OFFLINE.items():
        patch.setenv(name, value)


def _stay_on_loopback(patch: pytest.MonkeyPatch) -> None:
    """Any other address fails the test that asks for it, before a packet leaves."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_strangers(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_strangers(address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_strangers((host,))
        return getaddrinfo(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)


def _refuse_strangers(address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else None  # a Unix socket's address is a path
    if isinstance(host, bytes):
        host = host.decode()
    if host and not str(host).startswith(LOOPBACK):
        raise RuntimeError(f"a test tried to reach {host!r}; tests stay on loopback")


class SkipJudge:
    """Turns a skip into a failure of the run unless its reason is on the list."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.allowed = allowed
        self.unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._judge(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._judge(report)

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        place = report.longrepr
        reason = str(place[2] if isinstance(place, tuple) else place).removeprefix("Skipped: ")
        if not reason.startswith(self.allowed):
            self.unlisted.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unlisted:
            terminalreporter.section(f"skips whose reason is not in {ALLOWED_SKIPS.name}")
            for line in self.unlisted:
                terminalreporter.write_line(line)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help="a skip fails the run unless its reason is listed")
    parser.addoption("--without", default="", metavar="MODULE,...", help="as if these were not installed")


def pytest_configure(config: pytest.Config) -> None:
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for absent in filter(None, config.getoption("--without").split(",")):
        patch.setitem(sys.modules, absent, None)  # which Python takes for: it is not there
    _forget_the_outside(patch)
    _stay_on_loopback(patch)
    if REDIS.is_file():  # not where the smoke tests of a wheel are run, outside the source tree
        config.pluginmanager.import_plugin("tests.redis_server")
    if config.getoption("--strict-skips"):
        lines = ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines()
        allowed = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
        config.pluginmanager.register(SkipJudge(allowed), "skip-judge")
