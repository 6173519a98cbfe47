"""keys.yaml: the API keys that are accepted, each by the digest of its secret; the secrets are nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp
from typing import Annotated, Final, Self

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from crew_moe.auth.caller import AccessScope, Caller
from crew_moe.documents import MAX_BYTES, read_mapping
from crew_moe.domain.complaint import complaint
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import Name
from crew_moe.errors import ConfigError

Label = Annotated[Name, Field(pattern=r"\S")]
HEADER: Final = "# API keys of crew-moe: written by `crew-moe keys`. A secret can't be had back from its hash.\n"


class KeyEntry(BaseModel):
    """One key. `hash` is the SHA-256 of its secret; `operator` stands in place of a tenant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern="^[a-z0-9]{4,32}$")]
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    subject: Label
    tenant: Label | None = None
    operator: bool = False
    scopes: list[AccessScope] = []
    roles: list[Label] = []
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked: bool = False

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.operator is (self.tenant is not None):
            raise ValueError("a key belongs to a tenant, or is an operator's: 'tenant' or 'operator: true'")
        if self.operator and AccessScope.ADMIN not in self.scopes:
            raise ValueError(f"an operator's key needs the scope {AccessScope.ADMIN}")
        return self

    @property
    def caller(self) -> Caller:
        """Who comes with this key."""
        principal = Principal(subject=self.subject, tenant=self.tenant, roles=frozenset(self.roles))
        return Caller(principal=principal, scopes=frozenset(self.scopes))

    def expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class KeysFile(BaseModel):
    """keys.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: list[KeyEntry] = []

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        ids = [entry.id for entry in self.keys]
        twins = sorted({one for one in ids if ids.count(one) > 1}) if len(set(ids)) < len(ids) else []
        if twins:
            raise ValueError(f"the id '{twins[0]}' stands twice")
        return self


def read_keys(path: Path) -> tuple[KeyEntry, ...]:
    """The entries of the file. Raises ConfigError, which names the file and the key, and no hash."""
    try:
        return tuple(KeysFile.model_validate(read_mapping(path)).keys)
    except ValidationError as error:
        what, key, value, allowed = complaint(error, KeysFile)
    raise ConfigError(what, file=str(path), key=key, value=value, allowed=allowed)


def change_keys(path: Path, change: Callable[[Sequence[KeyEntry]], Sequence[KeyEntry]]) -> None:
    """Put `change` of the entries in place: whole or not at all, for nobody else to read, one change after another.

    A file that is not there yet is made. Raises ConfigError when it can't be read or written.
    """
    target = path.resolve()  # of a link, the file that it names is written
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target.parent):
            entries = read_keys(path) if target.exists() else ()
            _put(target, _written(change(entries), path))
    except OSError as error:
        raise ConfigError(f"can't be written ({error.strerror})", file=str(path)) from error


def _written(entries: Sequence[KeyEntry], path: Path) -> bytes:
    document = {"keys": [entry.model_dump(mode="json", exclude_defaults=True) for entry in entries]}
    text = (HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)).encode()
    if len(text) > MAX_BYTES:
        raise ConfigError("would be too large", file=str(path), allowed=(f"up to {MAX_BYTES:,} bytes",))
    return text


def _put(target: Path, content: bytes) -> None:
    handle, name = mkstemp(dir=target.parent, prefix=f".{target.name}.")  # with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes keys in this folder meanwhile: a revocation must not be lost to a key made beside it."""
    try:
        import fcntl
    except ImportError:  # on Windows: people take turns there
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
