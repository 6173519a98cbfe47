"""The pages that hosts share: one Redis database, in which each operation is one command or one script."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Final

from crew_moe.domain.page import Page
from crew_moe.errors import StateError
from crew_moe.state.meter import to_us
from crew_moe.state.page import ends_us, is_over, name_bytes, past_prefix
from crew_moe.state.redis.connection import PREFIX, Connection, Script, Value

ROOT: Final = PREFIX + "{pages}:"
ONE: Final = ROOT + "one:"
VERSION: Final = ROOT + "version"
NEVER: Final = "never"


@cache
def _script(name: str) -> Script:
    folder = Path(__file__).parent / "lua"
    return Script("\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("page", name)))


class RedisPages:
    """Implements ports.PageStore for all who open the same database.

    Raises StateError when the server can't be reached or refuses; a change whose answer was lost may have been made.
    Pages end by the server's clock as well as by the caller's.
    """

    remote: ClassVar[bool] = True  # a look crosses a network

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)

    def version(self) -> int:
        """Grows with every change, and jumps when the server lost its data."""
        return int(self._connection.execute("GET", VERSION) or 0)

    def read(self, name: str, now: datetime) -> Page | None:
        found = self._connection.execute("GET", ONE + name)
        return None if found is None else _page(name, found, now)

    def pages(self, prefix: str, now: datetime) -> Sequence[Page]:
        found: list[str] = self._run("page_list", *_range(prefix))
        pages = (_page(name, text, now) for name, text in zip(found[::2], found[1::2], strict=True))
        return [page for page in pages if page is not None]

    def write(self, name: str, content: bytes, now: datetime, *, over: int, keep_s: float | None = None) -> bool:
        ends = ends_us(now, keep_s)
        life_ms = 0 if keep_s is None else ceil(keep_s * 1_000)
        page = (b64encode(content), to_us(now), NEVER if ends is None else ends, life_ms)
        return bool(self._run("page_write", name, over, *page))

    def erase(self, prefix: str) -> int:
        return int(self._run("page_erase", *_range(prefix)))

    def close(self) -> None:
        """Give the sockets back; idempotent."""
        self._connection.close()

    def _run(self, name: str, *args: Value) -> Any:
        return self._connection.run(_script(name), (ROOT,), args)


def _range(prefix: str) -> tuple[bytes, bytes]:
    """All names with this prefix, as ZRANGEBYLEX takes it."""
    return b"[" + name_bytes(prefix), b"(" + past_prefix(prefix)


def _page(name: str, text: str, now: datetime) -> Page | None:
    """The page; None where its time is over."""
    try:
        version, ends, content = text.split(" ")
        if ends != NEVER and is_over(int(ends), now):
            return None
        return Page(name, b64decode(content, validate=True), int(version))
    except ValueError as error:  # a server may be shared with anybody
        raise StateError("the state holds a page that can't be read") from error
