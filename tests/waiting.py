"""Waiting for what another thread or process does: for a condition, with a deadline, never for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 30.0
_NEVER: Final = threading.Event()


def until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> float:
    """Return when the condition holds, after how many seconds; fail the test at the deadline."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < within_s, f"it did not come about within {waited:.1f} s"
        _NEVER.wait(0.002)
    return time.monotonic() - began
