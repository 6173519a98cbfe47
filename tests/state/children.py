"""Programs that the tests of several processes start: `python -m tests.state.children WHAT PATH [NUMBER]`."""

from __future__ import annotations

import os
import sys
import threading
from itertools import count
from pathlib import Path

from crew_moe.state.sqlite.log import SQLiteLog
from crew_moe.state.sqlite.store import SQLiteStore
from tests.state.given import NOW, POLICY, SAMPLE, row_of

ROWS = 200
FORKS = 8


def _open(path: Path) -> tuple[SQLiteStore, SQLiteLog]:
    return SQLiteStore(path, POLICY), SQLiteLog(path)


def write_for_ever(path: Path, _: int) -> None:
    """Tell each number once everything up to it is acknowledged; somebody will kill this."""
    store, log = _open(path)
    for number in count():
        store.record(SAMPLE, NOW, once=f"d{number}")
        store.fail(f"expert:{number}", NOW)
        log.append(f"d{number}", row_of(number))
        if number % 5 == 0:
            log.flush()
            print(number, flush=True)  # noqa: T201 - how the parent hears of it


def write_some(path: Path, worker: int) -> None:
    """ROWS observations, failures and decisions, beside others who do the same."""
    store, log = _open(path)
    for number in range(ROWS):
        store.record(SAMPLE, NOW, once=f"{worker}/{number}")
        store.fail(f"worker:{worker}", NOW)
        log.append(f"{worker}/{number}", row_of(number))
    log.close()
    store.close()


def fork_in_the_middle(path: Path, _: int) -> None:
    """Fork while threads write; every child writes ten observations and rows of its own."""
    store, log = _open(path)
    done = threading.Event()

    def work() -> None:
        for number in count():
            store.record(SAMPLE, NOW)
            log.append(f"parent/{number}", row_of(number))
            if done.is_set():
                return

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = [_forked(store, log, child) for child in range(FORKS)]
    codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    done.set()
    for thread in threads:
        thread.join()
    log.close()
    store.close()
    sys.exit(max(codes))


def _forked(store: SQLiteStore, log: SQLiteLog, child: int) -> int:
    process = os.fork()
    if process:
        return process
    for number in range(10):
        store.record(SAMPLE, NOW, once=f"{child}/{number}")
        log.append(f"{child}/{number}", row_of(number))
    log.close()
    store.close()
    os._exit(0)


PROGRAMS = {program.__name__: program for program in (write_for_ever, write_some, fork_in_the_middle)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
