"""The ledger of one process: accounts and records in dictionaries under one lock."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final

from crew_moe.clock import SystemClock
from crew_moe.domain.budget import Ceiling, Phase, Window
from crew_moe.ports import Clock
from crew_moe.state.accounts import CORRIGIBLE, KEPT, Account, Bucket, Terms, is_fleeting, new_account, open_bucket
from crew_moe.state.bookkeeping import BookLedger
from crew_moe.state.forking import survives_fork
from crew_moe.state.ledger import Record

MAX_REMEMBERED: Final = 10_000
SPARE_LEASES: Final = 64
LOOKS: Final = 4  # at old accounts, for each new one: so that forgetting keeps pace and never takes long
KEY_BYTES: Final = 16
KEYS_AT_ONCE: Final = 256  # random bytes are cheaper by the hundred
_HELD: Final = Phase.HELD
_LAPSED: Final = Phase.LAPSED
_PERIODS: Final = tuple(Window)


class MemoryLedger(BookLedger):
    """Implements ports.Ledger for all threads of one process; forgotten when it ends.

    The newest 10,000 endings are remembered, and the newest 10,000 lapsed charges.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._all = _Books(clock or SystemClock())

    def _books(self) -> _Books:
        return self._all

    def _view(self) -> _Books:
        return self._all

    def close(self) -> None:
        """Nothing to give back."""


class _Books:
    """Implements bookkeeping.Books; entering waits for whoever has them, and lets leases lapse that ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.now = clock.now()
        self._accounts: dict[str, Account] = {}
        self._fleeting: deque[Account] = deque()
        self._buckets: dict[tuple[str, Window], Bucket] = {}
        self._held: dict[str, Record] = {}
        self._lapsed: OrderedDict[str, Record] = OrderedDict()
        self._ended: OrderedDict[str, Record] = OrderedDict()
        self._leases: list[tuple[datetime, int, Record]] = []
        self._number = 0
        self._keys: list[str] = []
        self._lock = threading.RLock()
        survives_fork(self, held=self._lock)

    def begin_anew(self) -> None:
        """After a fork: the money stays; the parent's lock and the ids that it will give out do not."""
        self._lock = threading.RLock()
        self._keys = []

    def __enter__(self) -> _Books:
        self._lock.acquire()
        try:
            now = self._clock.now()
            if now > self.now:
                self.now = now
            if self._leases and self._leases[0][0] <= self.now:
                self._sweep()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._lock.release()

    def new_key(self) -> str:
        if not self._keys:
            drawn = os.urandom(KEY_BYTES * KEYS_AT_ONCE).hex()
            self._keys = [drawn[start : start + 2 * KEY_BYTES] for start in range(0, len(drawn), 2 * KEY_BYTES)]
        return self._keys.pop()

    def accounts(self, scopes: Sequence[str], ceilings: Mapping[str, Ceiling]) -> list[Account]:
        found = []
        now, until = self.now, self.now + KEPT
        for scope in scopes:
            account = self._accounts.get(scope) or self._open(scope)
            if ceilings:
                self._take(account, ceilings.get(scope))
            if account.keep_until < until:
                account.keep(until)
            ends_at = account.bucket.ends_at
            if ends_at is not None and ends_at <= now:
                self._turn(account)
            found.append(account)
        return found

    def known(self, scopes: Sequence[str]) -> list[Account]:
        found = []
        now = self.now
        for scope in scopes:
            account = self._accounts.get(scope)
            if account is not None:
                ends_at = account.bucket.ends_at
                if ends_at is not None and ends_at <= now:
                    self._turn(account)
                found.append(account)
        return found

    def every(self) -> list[Account]:
        return self.known(sorted(self._accounts))

    def agree(self, account: Account, terms: Terms) -> None:
        account.agree(terms)
        account.bucket = self._bucket(account.scope, terms.period)

    def find(self, key: str) -> Record | None:
        return self._held.get(key) or self._ended.get(key) or self._lapsed.get(key)

    def unfinished(self) -> list[Record]:
        return sorted((*self._held.values(), *self._lapsed.values()), key=lambda record: record.number)

    def add(self, records: Sequence[Record]) -> None:
        for record in records:
            self._number += 1
            record.number = self._number
            self.save(record)

    def save(self, record: Record) -> None:
        phase, key = record.phase, record.key
        if phase is _HELD:
            self._held[key] = record
            self._lease(record)
            return
        if self._held.pop(key, None) is None:
            self._lapsed.pop(key, None)
        kept = self._lapsed if phase is _LAPSED else self._ended
        kept[key] = record
        if len(kept) > MAX_REMEMBERED:
            kept.popitem(last=False)

    def save_buckets(self, buckets: Sequence[Bucket]) -> None:
        """They are these books' own."""

    def _lease(self, record: Record) -> None:
        """Note when it ends; entries of leases that ended early or were renewed are cleared out at times."""
        heappush(self._leases, (record.expires_at, record.number, record))
        if len(self._leases) > 2 * len(self._held) + SPARE_LEASES:
            self._leases = [(held.expires_at, held.number, held) for held in self._held.values()]
            heapify(self._leases)

    def _sweep(self) -> None:
        while self._leases and self._leases[0][0] <= self.now:
            record = heappop(self._leases)[2]
            if record.phase is Phase.HELD and record.expires_at <= self.now:
                record.lapse()
                self.save(record)
                for account in self.known(record.scopes):
                    account.keep(self.now + CORRIGIBLE)

    def _take(self, account: Account, ceiling: Ceiling | None) -> None:
        if ceiling is not None and ceiling != account.terms.ceiling:
            self.agree(account, account.terms._replace(ceiling=ceiling))

    def _turn(self, account: Account) -> None:
        """A new window: its bucket takes the place of the one that ended."""
        account.bucket = self._bucket(account.scope, account.bucket.period)

    def _bucket(self, scope: str, period: Window) -> Bucket:
        bucket = self._buckets.get((scope, period))
        if bucket is None or bucket.has_ended(self.now):
            bucket = self._buckets[scope, period] = open_bucket(scope, period, self.now)
        return bucket

    def _open(self, scope: str) -> Account:
        account = self._accounts[scope] = new_account(scope, self.now)
        self._buckets[scope, account.bucket.period] = account.bucket
        if is_fleeting(scope):
            self._fleeting.append(account)
            self._forget()
        return account

    def _forget(self) -> None:
        """Look at some old runs and tasks: drop those that nobody needs, send the others to the end of the row."""
        for _ in range(LOOKS):
            oldest = self._fleeting[0]
            if not oldest.is_forgotten(self.now):
                self._fleeting.rotate(-1)
                continue
            self._fleeting.popleft()
            del self._accounts[oldest.scope]
            for period in _PERIODS:
                self._buckets.pop((oldest.scope, period), None)
