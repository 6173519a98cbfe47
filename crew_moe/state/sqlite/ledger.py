"""The ledger that processes of one machine share: one SQLite file, one durable transaction for each change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from sqlite3 import Connection
from typing import Any, Final

from crew_moe.clock import SystemClock
from crew_moe.domain.budget import Ceiling, Window
from crew_moe.ports import Clock
from crew_moe.state.accounts import CORRIGIBLE, KEPT, Account, Bucket, Terms, is_fleeting, new_account, open_bucket
from crew_moe.state.bookkeeping import BookLedger
from crew_moe.state.ledger import Record
from crew_moe.state.sqlite import ledger_rows as rows
from crew_moe.state.sqlite.database import Database

FEW: Final = 8  # old rows that one call clears away: more than it makes, and never many at once
_NOW: Final = "SELECT now, (SELECT min(due_at) FROM ledger_records WHERE phase = 'held') FROM ledger_clock"
_ACCOUNTS: Final = f"SELECT {rows.ACCOUNT} FROM ledger_accounts a LEFT JOIN ledger_buckets b ON b.number = a.bucket"  # noqa: S608 - constants


class SQLiteLedger(BookLedger):
    """Implements ports.Ledger for all threads and processes that open the same file.

    Its time is the machine's, never before what any of them has written or this one has seen. Endings are remembered
    for a day, charges of lapsed leases for 31 days. Raises StateError when the file can't be opened, read or written.
    """

    def __init__(self, path: Path | str, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._seen = 0
        self._database = Database(Path(path), rows.TABLES, durable=True)

    def close(self) -> None:
        """Give the file back; idempotent."""
        self._database.close()

    @contextmanager
    def _books(self) -> Iterator[_Books]:
        with self._database.writing() as connection:
            books, due = self._opened(connection)
            connection.execute("UPDATE ledger_clock SET now = ?", (rows.micros(books.now),))
            if due:
                books.sweep()
            yield books

    @contextmanager
    def _view(self) -> Iterator[_Books]:
        with self._database.viewing() as connection:
            books, due = self._opened(connection)
            if not due:
                yield books
                return
        with self._books() as books:
            yield books

    def _opened(self, connection: Connection) -> tuple[_Books, bool]:
        """The books at the store's time, and whether a lease has ended in them."""
        known, first_due = connection.execute(_NOW).fetchone()
        self._seen = max(self._seen, known, rows.micros(self._clock.now()))
        return _Books(connection, rows.moment(self._seen)), first_due is not None and first_due <= self._seen


class _Books:
    """Implements bookkeeping.Books inside one transaction.

    Each bucket is read once: what two records share moves in one place.
    """

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.now = now
        self._read: dict[int, Bucket] = {}
        self._do = connection.execute
        self._do_all = connection.executemany

    def new_key(self) -> str:
        return token_hex(16)

    def sweep(self) -> None:
        """Let the leases lapse that ended by now."""
        for record in self._records("phase = 'held' AND due_at <= ? ORDER BY due_at", rows.micros(self.now)):
            record.lapse()
            self.save(record)
            for account in self.known(record.scopes):
                if account.keep(self.now + CORRIGIBLE):
                    self._save_account(account)

    def accounts(self, scopes: Sequence[str], ceilings: Mapping[str, Ceiling]) -> list[Account]:
        found = {account.scope: account for account in self.known(scopes)}
        for account in found.values():  # first of all: what is kept can't be forgotten where another is opened
            self._touch(account, ceilings.get(account.scope))
        return [found.get(scope) or self._touch(self._open(scope), ceilings.get(scope)) for scope in scopes]

    def known(self, scopes: Sequence[str]) -> list[Account]:
        found = self._do(f"{_ACCOUNTS} WHERE a.scope IN ({_marks(scopes)})", tuple(scopes))
        by_scope = {row[0]: self._account(row) for row in found}
        return [by_scope[scope] for scope in scopes if scope in by_scope]

    def every(self) -> list[Account]:
        return [self._account(row) for row in self._do(f"{_ACCOUNTS} ORDER BY a.scope")]

    def agree(self, account: Account, terms: Terms) -> None:
        account.agree(terms)
        if not account.bucket.number or account.bucket.period is not terms.period:
            account.bucket = self._bucket(account.scope, terms.period)
        self._save_account(account)

    def find(self, key: str) -> Record | None:
        return next(iter(self._records("id = ?", key)), None)

    def unfinished(self) -> list[Record]:
        return self._records("phase IN ('held', 'lapsed') ORDER BY number")

    def add(self, records: Sequence[Record]) -> None:
        self._do_all(
            "INSERT INTO ledger_records VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [rows.record_columns(record, self.now) for record in records],
        )
        self.save_buckets(records[0].buckets)
        self._do(
            "DELETE FROM ledger_records WHERE number IN (SELECT number FROM ledger_records"
            " WHERE phase IN ('settled', 'released', 'lapsed') AND due_at <= ? LIMIT ?)",
            (rows.micros(self.now), FEW),
        )

    def save(self, record: Record) -> None:
        self._do(
            "UPDATE ledger_records SET expires_at = ?, note = ?, phase = ?, charged = ?, overrun = ?, due_at = ?"
            " WHERE number = ?",
            (*rows.ending_columns(record, self.now), record.number),
        )
        self.save_buckets(record.buckets)

    def save_buckets(self, buckets: Sequence[Bucket]) -> None:
        self._do_all(
            "UPDATE ledger_buckets SET settled = ?, reserved = ?, overrun = ?, lapsed = ?, blocked = ?"
            " WHERE number = ?",
            [(*rows.money_columns(bucket), bucket.number) for bucket in buckets],
        )

    def _records(self, where: str, *values: Any) -> list[Record]:
        found = self._do(f"SELECT {rows.RECORD} FROM ledger_records WHERE {where}", values).fetchall()  # noqa: S608 - constants
        return [rows.record(row, self._buckets(rows.bucket_numbers(row))) for row in found]

    def _buckets(self, numbers: Sequence[int]) -> list[Bucket]:
        """Those that are still there."""
        unread = [number for number in numbers if number not in self._read]
        if unread:
            query = f"SELECT {rows.BUCKET} FROM ledger_buckets b WHERE b.number IN ({_marks(unread)})"  # noqa: S608 - constants
            for row in self._do(query, unread):
                self._known_bucket(row)
        return [self._read[number] for number in numbers if number in self._read]

    def _known_bucket(self, row: Sequence[Any]) -> Bucket:
        """The bucket of a row of BUCKET; as it was read first, and moved since."""
        return self._read.get(row[0]) or self._read.setdefault(row[0], rows.bucket(row))

    def _account(self, row: Sequence[Any]) -> Account:
        """A row of ACCOUNT; with a new bucket that has no number yet where the last one ended, or is gone."""
        bucket = None if row[6] is None else self._known_bucket(row[6:])
        if bucket is None or bucket.has_ended(self.now):
            bucket = open_bucket(row[0], rows.terms(row).period, self.now)
        return rows.account(row, bucket)

    def _touch(self, account: Account, ceiling: Ceiling | None) -> Account:
        """Keep the account, give it a bucket where its last one ended, and take its ceiling."""
        changed = ceiling is not None and ceiling != account.terms.ceiling
        if account.keep(self.now + KEPT) or not account.bucket.number or changed:
            self.agree(account, account.terms._replace(ceiling=ceiling) if changed else account.terms)
        return account

    def _open(self, scope: str) -> Account:
        account = new_account(scope, self.now)
        account.bucket = self._bucket(scope, account.bucket.period)
        self._do(
            "INSERT INTO ledger_accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (scope, *rows.terms_columns(account), is_fleeting(scope)),
        )
        self._forget()
        return account

    def _save_account(self, account: Account) -> None:
        self._do(
            "UPDATE ledger_accounts SET own_nano = ?, own_window = ?, ceiling_nano = ?, ceiling_window = ?, bucket = ?,"
            " keep_until = ? WHERE scope = ?",
            (*rows.terms_columns(account), account.scope),
        )

    def _bucket(self, scope: str, period: Window) -> Bucket:
        """The bucket of the present window, made where there is none; few of those that ended are dropped for it."""
        now = rows.micros(self.now)
        found = self._do(
            f"SELECT {rows.BUCKET} FROM ledger_buckets b"  # noqa: S608 - constants
            " WHERE scope = ? AND period = ? AND (ends_at IS NULL OR ends_at > ?)",
            (scope, period, now),
        ).fetchone()
        if found is not None:
            return self._known_bucket(found)
        bucket = open_bucket(scope, period, self.now)
        self._do(
            "DELETE FROM ledger_buckets WHERE number IN (SELECT number FROM ledger_buckets"
            " WHERE ends_at <= ? AND reserved = 0 LIMIT ?)",
            (now, FEW),
        )
        made = self._do(
            "INSERT INTO ledger_buckets VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.bucket_columns(bucket)
        )
        bucket.number = made.lastrowid or 0
        self._read[bucket.number] = bucket
        return bucket

    def _forget(self) -> None:
        """Drop a few old runs and tasks that nobody needs."""
        idle = self._do(
            "SELECT scope FROM ledger_accounts a WHERE fleeting AND own_nano IS NULL AND keep_until <= ?"
            " AND NOT EXISTS (SELECT 1 FROM ledger_buckets b WHERE b.scope = a.scope AND b.reserved > 0) LIMIT ?",
            (rows.micros(self.now), FEW),
        ).fetchall()
        self._do_all("DELETE FROM ledger_buckets WHERE scope = ?", idle)
        self._do_all("DELETE FROM ledger_accounts WHERE scope = ?", idle)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
