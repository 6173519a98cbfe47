"""stdin and stdout as the protocol's own: whatever else prints goes to stderr, whatever else reads finds nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, BinaryIO, Final, TextIO, cast

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
PIECE: Final = 65_536


class _Aside:
    """A text stream like any other whose `buffer` is the wire: the protocol alone works on bytes."""

    def __init__(self, everybody: TextIO, wire: BinaryIO) -> None:
        self._everybody = everybody
        self.buffer = wire

    def __getattr__(self, name: str) -> Any:
        return getattr(self._everybody, name)


@contextmanager
def protocol_only() -> Iterator[Callable[[], None]]:
    """Keep the wire clean: prints of this process, of its libraries and of its children go to stderr.

    Gives what hangs up: the protocol then reads the end of its input, as when the client goes.
    """
    sys.stdout.flush()
    usual = sys.stdin, sys.stdout
    reading, writing = os.dup(STDIN), os.dup(STDOUT)
    requests, pumped = os.pipe()
    with open(os.devnull, encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), STDIN)
        os.dup2(STDERR, STDOUT)
        sys.stdin = cast(TextIO, _Aside(nothing, os.fdopen(requests, "rb", closefd=False)))
        sys.stdout = cast(TextIO, _Aside(sys.stderr, os.fdopen(writing, "wb", closefd=False)))
        pump = os.fdopen(pumped, "wb", buffering=0)
        Thread(target=_pump, args=(reading, pump), daemon=True).start()
        try:
            yield pump.close
        finally:
            sys.stdin, sys.stdout = usual
            os.dup2(reading, STDIN)
            os.dup2(writing, STDOUT)
            os.close(writing)


def _pump(source: int, sink: BinaryIO) -> None:
    """Carry bytes over. A read of stdin can't be called off, which would keep the process from ending: this thread may
    be left behind in it.
    """
    with suppress(OSError, ValueError), sink:  # hung up meanwhile
        while piece := os.read(source, PIECE):
            sink.write(piece)
