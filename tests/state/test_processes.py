"""One file, several processes: nothing acknowledged is lost, whoever is killed, forked or in a hurry."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from crew_moe.domain.snapshot import Circuit
from crew_moe.state.decision_log import Fault, verify
from crew_moe.state.sqlite.log import SQLiteLog
from crew_moe.state.sqlite.store import SQLiteStore
from tests.state.children import FORKS, ROWS
from tests.state.given import NOW, POLICY, SAMPLE

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
PROCESSES = 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "both.db"


def _start(program: str, path: Path, number: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.state.children", program, str(path), str(number)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _wait(process: subprocess.Popen[str]) -> int:
    with process:
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _killed_after(lines: int, path: Path) -> int:
    """Kill -9 a busy writer; the last number that it acknowledged."""
    with _start("write_for_ever", path) as process:
        assert process.stdout is not None
        for _ in range(lines):
            heard = process.stdout.readline()
        process.kill()
        unread = process.stdout.read().splitlines(keepends=True)
    whole = [line for line in [heard, *unread] if line.endswith("\n")]
    return int(whole[-1])


def _integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize("lines", [1, 8, 40])
def test_killed_writer_leaves_everything_that_it_acknowledged(path: Path, lines: int) -> None:
    acknowledged = _killed_after(lines, path)
    store, log = SQLiteStore(path, POLICY), SQLiteLog(path)

    assert _integrity(path) == "ok"
    assert store.performance(NOW)["gpt-4o", "testing"].samples > acknowledged
    assert len(store.breakers()) > acknowledged
    assert not any(store.record(SAMPLE, NOW, once=f"d{number}") for number in range(acknowledged + 1))
    assert all(log.get(f"d{number}") is not None for number in range(acknowledged + 1))
    assert [finding.fault for finding in verify(log.chain())] == [Fault.UNCLOSED]
    store.close()
    log.close()


def test_processes_lose_no_update_and_no_row(path: Path) -> None:
    workers = [_start("write_some", path, worker) for worker in range(PROCESSES)]
    assert [_wait(worker) for worker in workers] == [0] * PROCESSES
    store, log = SQLiteStore(path, POLICY), SQLiteLog(path)

    assert store.performance(NOW)["gpt-4o", "testing"].samples == PROCESSES * ROWS
    assert all(store.breakers()[f"worker:{worker}"].state is Circuit.OPEN for worker in range(PROCESSES))
    assert len(log.tail(PROCESSES * ROWS + 1)) == PROCESSES * ROWS
    assert verify(log.chain()) == ()
    written = Counter(envelope.writer for envelope in log.chain())
    assert list(written.values()) == [ROWS + 1] * PROCESSES  # each with its closing row
    store.close()
    log.close()


def test_forked_children_write_beside_their_parent(path: Path) -> None:
    assert _wait(_start("fork_in_the_middle", path)) == 0
    store, log = SQLiteStore(path, POLICY), SQLiteLog(path)

    rows = [envelope.decision_id for envelope in log.chain()]
    assert {f"{child}/{number}" for child in range(FORKS) for number in range(10)} <= set(rows)
    assert len({envelope.writer for envelope in log.chain()}) == FORKS + 1
    assert {finding.fault for finding in verify(log.chain())} <= {Fault.GAP}  # the parent's queue may run full
    assert _integrity(path) == "ok"
    store.close()
    log.close()
