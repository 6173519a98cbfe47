"""API keys: `cmk_<id>_<secret>`. Who has the right secret of a key that is in force is let in.

The secret is 256 random bits, so one round of SHA-256 is enough to keep it: there is nothing to guess. A key is looked
up in its file at every request, and the file is read again when it changes: a revoked key ends with the next request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from crew_moe.auth.caller import AccessScope, Caller, Unauthorized
from crew_moe.auth.keys_file import KeyEntry, read_keys
from crew_moe.auth.watched import Watched
from crew_moe.domain.complaint import complaint
from crew_moe.errors import InvalidInput
from crew_moe.ports import Clock, EventSink

PREFIX: Final = "cmk_"
LONGEST: Final = 200  # characters; no key comes near
SECRET_BYTES: Final = 32
ID_BYTES: Final = 6
_UNKNOWN: Final = Unauthorized(code="invalid", message="the API key is not known here")
_REVOKED: Final = Unauthorized(code="invalid", message="the API key was revoked; ask for a new one")
_EXPIRED: Final = Unauthorized(code="expired", message="the API key has expired; ask for a new one")
_NOBODYS: Final = hashlib.sha256(
    b""
).hexdigest()  # the hash of no secret, for keys that don't exist to be compared with


@dataclass(frozen=True, slots=True)
class _Known:
    entry: KeyEntry
    caller: Caller


class ApiKeys:
    """The keys of one file. Opening it raises ConfigError, which names the file and the key, when it is wrong."""

    def __init__(self, path: Path, *, clock: Clock, sink: EventSink) -> None:
        self._clock = clock
        self._file = Watched(path, _read, sink=sink)

    @property
    def may_wait(self) -> bool:
        """Whether the next check reads the file, which an event loop should not wait for."""
        return self._file.changed

    def verify(self, key: str) -> Caller | Unauthorized:
        """Who comes with this key. Whether a key is revoked or expired is told only to whoever has its secret."""
        parts = key.split("_", 2)
        if len(key) > LONGEST or len(parts) != 3 or not key.startswith(PREFIX):
            return _UNKNOWN
        known = self._file.current().get(parts[1])
        expected = known.entry.hash if known is not None else _NOBODYS
        if not hmac.compare_digest(digest(parts[2]), expected) or known is None:
            return _UNKNOWN
        if known.entry.revoked:
            return _REVOKED
        return _EXPIRED if known.entry.expired(self._clock.now()) else known.caller


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_key(
    *,
    subject: str,
    tenant: str | None,
    scopes: Sequence[AccessScope],
    roles: Sequence[str] = (),
    now: datetime,
    life: timedelta | None = None,
) -> tuple[str, KeyEntry]:
    """A fresh key, which is told once, and what is kept of it. Without a tenant it is an operator's.

    Raises InvalidInput for what no entry may hold.
    """
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES)
    try:
        entry = KeyEntry(
            id=key_id,
            hash=digest(secret),
            subject=subject,
            tenant=tenant,
            operator=tenant is None,
            scopes=list(scopes),
            roles=list(roles),
            created_at=now,
            expires_at=None if life is None else now + life,
        )
    except ValidationError as error:
        what, where, value, allowed = complaint(error, KeyEntry)
        raise InvalidInput(what, where=where, value=value, allowed=allowed) from None
    return f"{PREFIX}{key_id}_{secret}", entry


def _read(path: Path) -> Mapping[str, _Known]:
    return {entry.id: _Known(entry, entry.caller) for entry in read_keys(path)}
