"""The pages that processes share: one SQLite file, which may be that of the state.

What was written survives a killed process. A power cut may lose the last moments, which is learning and no money:
`synchronous=NORMAL` is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from crew_moe.domain.page import Page
from crew_moe.state.meter import to_us
from crew_moe.state.page import ends_us, name_bytes, name_text, past_prefix
from crew_moe.state.sqlite.database import Database, change_mark

TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS page_version (number INTEGER NOT NULL)",
    "INSERT INTO page_version SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM page_version)",
    """CREATE TABLE IF NOT EXISTS pages (
        name BLOB PRIMARY KEY, version INTEGER NOT NULL, ends INTEGER, content BLOB NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS pages_ends ON pages (ends) WHERE ends IS NOT NULL",
)
_LASTS: Final = "(ends IS NULL OR ends > ?)"


class SQLitePages:
    """Implements ports.PageStore for all threads and processes that open the same file.

    Raises StateError when the file can't be opened, read or written. Rows of pages whose time is over go in passing.
    """

    def __init__(self, path: Path | str) -> None:
        self._database = Database(Path(path), TABLES)
        self._known: tuple[tuple[int, int], int] | None = None

    def version(self) -> int:
        """A number in the file that grows with every change; read again only after somebody committed."""
        with self._database.reading() as connection:
            mark = change_mark(connection)
            if self._known is None or self._known[0] != mark:
                self._known = (mark, _number(connection))
            return self._known[1]

    def read(self, name: str, now: datetime) -> Page | None:
        query = f"SELECT version, content FROM pages WHERE name = ? AND {_LASTS}"  # noqa: S608 - our own words
        with self._database.reading() as connection:
            found = connection.execute(query, (name_bytes(name), to_us(now))).fetchone()
        return None if found is None else Page(name, found[1], found[0])

    def pages(self, prefix: str, now: datetime) -> Sequence[Page]:
        within = (name_bytes(prefix), past_prefix(prefix), to_us(now))
        query = f"SELECT name, content, version FROM pages WHERE name >= ? AND name < ? AND {_LASTS} ORDER BY name"  # noqa: S608 - our own words
        with self._database.reading() as connection:
            found = connection.execute(query, within).fetchall()
        return [Page(name_text(name), content, version) for name, content, version in found]

    def write(self, name: str, content: bytes, now: datetime, *, over: int, keep_s: float | None = None) -> bool:
        ends, key = ends_us(now, keep_s), name_bytes(name)
        with self._database.writing() as connection:
            connection.execute("DELETE FROM pages WHERE ends <= ?", (to_us(now),))
            found = connection.execute("SELECT version FROM pages WHERE name = ?", (key,)).fetchone()
            if over != (0 if found is None else found[0]):
                return False
            row = (key, self._changed(connection), ends, content)
            connection.execute("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?)", row)
        return True

    def erase(self, prefix: str) -> int:
        within = (name_bytes(prefix), past_prefix(prefix))
        with self._database.writing() as connection:
            gone = connection.execute("DELETE FROM pages WHERE name >= ? AND name < ?", within).rowcount
            if gone:
                self._changed(connection)
        return gone

    def close(self) -> None:
        """Give the file back; idempotent."""
        self._database.close()

    def _changed(self, connection: Connection) -> int:
        """The new version. No page ever has one that another page, or itself, had before."""
        connection.execute("UPDATE page_version SET number = number + 1")
        self._known = None
        return _number(connection)


def _number(connection: Connection) -> int:
    return int(connection.execute("SELECT number FROM page_version").fetchone()[0])
