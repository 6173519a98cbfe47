"""The ledger's arithmetic: what a reservation, its ending and a lapse move in the buckets that opened it.

    held --settle--> settled          settled += min(reserved, spent), overrun += the excess, the rest returns
    held --release--> released        all of it returns
    held --lease ends--> lapsed       charged in full
    lapsed --settle, release-->       the automatic charge is replaced by the truth
    released --settle--> settled      money was spent all the same: overrun, since the room may be taken by now

The first settlement or release holds; whatever comes after it changes nothing, but for the last line above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from crew_moe.domain.budget import OpenCharge, Phase, Reservation, Settlement, Standing
from crew_moe.domain.money import to_usd
from crew_moe.errors import InvalidInput
from crew_moe.state.accounts import CORRIGIBLE, Account, Bucket, Shift, make, move, standings

REMEMBERED: Final = timedelta(days=1)  # how long an ending is known, so that a repeated one changes nothing
_HELD: Final = Phase.HELD  # looking a member up takes longer than comparing it, and every call does
_NOTHING: Final = Decimal(0)
CHARGE: Final = "charge:"  # before the ids of charges, which are kept among reservations


@dataclass(slots=True)
class Record:
    """A reservation, or a charge that nobody reserved: what it moved, and in which buckets.

    Changes in place, as its buckets do: it belongs to one lock or one transaction.
    """

    key: str
    scopes: tuple[str, ...]
    buckets: Sequence[Bucket]
    nano: int
    expires_at: datetime
    note: str = ""
    phase: Phase = Phase.HELD
    charged: int = 0
    overrun: int = 0
    number: int = 0

    def lapse(self) -> None:
        """The lease ended and nobody said what it was: it was all of it."""
        move(self.buckets, (self.nano, -self.nano, 0, self.nano))
        self.phase, self.charged = Phase.LAPSED, self.nano

    def end(self, spent: int, phase: Phase) -> bool:
        """Settle (or release, at 0); False where an ending before holds. Raises InvalidInput where a bucket would
        carry more than can be counted, with nothing changed.
        """
        shift = _ending(self.phase, self.nano, spent)
        if shift is None:
            return False
        overrun = shift[2]
        if overrun:
            for bucket in self.buckets:
                bucket.check(overrun)
        move(self.buckets, shift)
        self.phase, self.charged, self.overrun = phase, spent, overrun
        return True

    def renew(self, until: datetime) -> None:
        """A longer lease, never a shorter one. Raises InvalidInput when it has ended."""
        if self.phase is not Phase.HELD:
            raise InvalidInput(f"reservation '{self.key}' can't be renewed: it is {self.phase}", where="reservation_id")
        self.expires_at = max(self.expires_at, until)

    def forget_at(self, now: datetime) -> datetime:
        """When a record that ended by now need not be kept any longer."""
        return self.expires_at + CORRIGIBLE if self.phase is Phase.LAPSED else now + REMEMBERED


def _ending(phase: Phase, reserved: int, spent: int) -> Shift | None:
    """What an ending moves in every bucket; None: nothing, since another one holds."""
    charged = spent if spent < reserved else reserved
    if phase is _HELD:
        return charged, -reserved, spent - charged, 0
    if phase is Phase.LAPSED:
        return charged - reserved, 0, spent - charged, -reserved
    if phase is Phase.RELEASED and spent:
        return 0, 0, spent, 0
    return None


def book(key: str, accounts: Sequence[Account], nano: int, now: datetime, note: str) -> Record:
    """Charge what nobody reserved; its record, settled. Raises as `Record.end`."""
    shifts = [account.booking(nano) for account in accounts]
    for account, shift in zip(accounts, shifts, strict=True):
        move((account.bucket,), shift)
    return Record(
        key,
        tuple(account.scope for account in accounts),
        tuple(account.bucket for account in accounts),
        0,
        now,
        note,
        Phase.SETTLED,
        nano,
        max(overrun for _, _, overrun, _ in shifts),
    )


def reservation(record: Record, standing: tuple[Standing, ...]) -> Reservation:
    """A record that is held, and how its limited scopes stand."""
    return make(Reservation, (record.key, record.scopes, record.nano, record.expires_at, standing))


def settlement(record: Record, accounts: Iterable[Account]) -> Settlement:
    """What became of a record, and how its limited scopes stand now."""
    overrun = record.overrun
    return make(
        Settlement,
        (
            record.key.removeprefix(CHARGE),
            record.phase,
            record.scopes,
            to_usd(record.nano),
            to_usd(record.charged),
            to_usd(overrun) if overrun else _NOTHING,
            standings(accounts),
        ),
    )


def open_charge(record: Record) -> OpenCharge:
    """A record that is held or lapsed."""
    return OpenCharge(
        id=record.key,
        phase=record.phase,
        scopes=record.scopes,
        reserved_usd=to_usd(record.nano),
        expires_at=record.expires_at,
        note=record.note,
    )
