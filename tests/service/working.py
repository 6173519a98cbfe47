"""What workers do in tests. Each runs in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

PLACE = "TESTS_WORKING_PLACE"
"""A folder where one process may leave a note for the next."""


def fail(_: socket.socket, __: Callable[[], None]) -> None:
    sys.exit(3)


def fall_once(_: socket.socket, started: Callable[[], None]) -> None:
    """The first one answers and falls over; the next one stays."""
    note = Path(os.environ[PLACE]) / "fallen"
    started()
    if not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (note.parent / "stays").touch()
    threading.Event().wait()


def hear_nothing(_: socket.socket, started: Callable[[], None]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    started()
    while True:
        threading.Event().wait()
