"""Accounts, buckets and records of a ledger as SQLite rows and back; moments are whole microseconds since 1970."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from crew_moe.domain.budget import Ceiling, Phase, Window
from crew_moe.state.accounts import Account, Bucket, Terms
from crew_moe.state.ledger import Record

TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS ledger_clock (now INTEGER NOT NULL)",
    "INSERT INTO ledger_clock SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM ledger_clock)",
    """CREATE TABLE IF NOT EXISTS ledger_accounts (
        scope TEXT PRIMARY KEY, own_nano INTEGER, own_window TEXT, ceiling_nano INTEGER, ceiling_window TEXT,
        bucket INTEGER NOT NULL, keep_until INTEGER NOT NULL, fleeting INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE INDEX IF NOT EXISTS ledger_accounts_fleeting ON ledger_accounts (keep_until)
        WHERE fleeting AND own_nano IS NULL""",
    # AUTOINCREMENT: a late settlement must never find another bucket under the number of one that is gone.
    """CREATE TABLE IF NOT EXISTS ledger_buckets (
        number INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, period TEXT NOT NULL,
        opened_at INTEGER NOT NULL, ends_at INTEGER,
        settled INTEGER NOT NULL CHECK (settled >= 0), reserved INTEGER NOT NULL CHECK (reserved >= 0),
        overrun INTEGER NOT NULL CHECK (overrun >= 0), lapsed INTEGER NOT NULL CHECK (lapsed >= 0),
        blocked INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS ledger_buckets_by_scope ON ledger_buckets (scope)",
    "CREATE INDEX IF NOT EXISTS ledger_buckets_by_end ON ledger_buckets (ends_at) WHERE ends_at IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS ledger_records (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, buckets TEXT NOT NULL,
        nano INTEGER NOT NULL, expires_at INTEGER NOT NULL, note TEXT NOT NULL, phase TEXT NOT NULL,
        charged INTEGER NOT NULL, overrun INTEGER NOT NULL, due_at INTEGER NOT NULL)""",
    # By what time alone does: a lease ends, or an ending need not be remembered any longer.
    "CREATE INDEX IF NOT EXISTS ledger_records_due ON ledger_records (phase, due_at)",
)
BUCKET: Final = (
    "b.number, b.scope, b.period, b.opened_at, b.ends_at, b.settled, b.reserved, b.overrun, b.lapsed, b.blocked"
)
ACCOUNT: Final = f"a.scope, a.own_nano, a.own_window, a.ceiling_nano, a.ceiling_window, a.keep_until, {BUCKET}"
RECORD: Final = "number, id, scopes, buckets, nano, expires_at, note, phase, charged, overrun"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_APART: Final = "\n"  # between scopes, which have no such character


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _TICK


def moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def bucket(row: Sequence[Any]) -> Bucket:
    """A row of BUCKET."""
    number, scope, period, opened_at, ends_at, settled, reserved, overrun, lapsed, blocked = row
    ends = None if ends_at is None else moment(ends_at)
    return Bucket(
        scope, Window(period), moment(opened_at), ends, settled, reserved, overrun, lapsed, bool(blocked), number
    )


def account(row: Sequence[Any], bucket: Bucket) -> Account:
    """A row of ACCOUNT, with the bucket that is open for it."""
    return Account(row[0], terms(row), bucket, moment(row[5]))


def terms(row: Sequence[Any]) -> Terms:
    """The terms in a row of ACCOUNT."""
    own_nano, own_window, ceiling_nano, ceiling_window = row[1:5]
    ceiling = None if ceiling_nano is None else Ceiling(limit_nano=ceiling_nano, window=Window(ceiling_window))
    return Terms(own_nano, None if own_window is None else Window(own_window), ceiling)


def terms_columns(account: Account) -> tuple[int | None, str | None, int | None, str | None, int, int]:
    """From `own_nano` to `keep_until`."""
    own_nano, own_window, ceiling = account.terms
    limit, window = (None, None) if ceiling is None else (ceiling.limit_nano, ceiling.window)
    return own_nano, own_window, limit, window, account.bucket.number, micros(account.keep_until)


def bucket_columns(bucket: Bucket) -> tuple[Any, ...]:
    """All but the number."""
    ends_at = None if bucket.ends_at is None else micros(bucket.ends_at)
    return bucket.scope, bucket.period, micros(bucket.opened_at), ends_at, *money_columns(bucket)


def money_columns(bucket: Bucket) -> tuple[int, int, int, int, bool]:
    """From `settled` to `blocked`."""
    return bucket.settled, bucket.reserved, bucket.overrun, bucket.lapsed, bucket.blocked


def bucket_numbers(row: Sequence[Any]) -> list[int]:
    """The buckets of a row of RECORD."""
    return [int(number) for number in row[3].split()]


def record(row: Sequence[Any], buckets: Sequence[Bucket]) -> Record:
    """A row of RECORD; buckets that are gone are left out."""
    number, key, scopes, _, nano, expires_at, note, phase, charged, overrun = row
    names = tuple(scopes.split(_APART))
    return Record(key, names, buckets, nano, moment(expires_at), note, Phase(phase), charged, overrun, number)


def record_columns(record: Record, now: datetime) -> tuple[Any, ...]:
    """All but the number, `due_at` included."""
    numbers = " ".join(str(bucket.number) for bucket in record.buckets)
    return record.key, _APART.join(record.scopes), numbers, record.nano, *ending_columns(record, now)


def ending_columns(record: Record, now: datetime) -> tuple[int, str, str, int, int, int]:
    """From `expires_at` to `due_at`: what may change in a record."""
    due_at = record.expires_at if record.phase is Phase.HELD else record.forget_at(now)
    return (
        micros(record.expires_at),
        record.note,
        record.phase.value,
        record.charged,
        record.overrun,
        micros(due_at),
    )
