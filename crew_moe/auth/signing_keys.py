"""The public keys that tokens are verified with: from a PEM file, a JWKS file, or the URL of a JWKS."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from crew_moe.auth.watched import Watched
from crew_moe.documents import as_text, read_text
from crew_moe.errors import ConfigError, InvalidInput, MissingExtra
from crew_moe.ports import Clock, EventSink

RSA: Final = "RS256"
EC: Final = "ES256"
LEAST_RSA_BITS: Final = 2048
MOST_KEYS: Final = 50
MAX_BYTES: Final = 500_000
PATIENCE_S: Final = 5.0  # for one fetch, all in all
FRESH_S: Final = 600.0  # keys are fetched again after that, so that one that was withdrawn ends
PAUSE_S: Final = 60.0  # between two fetches, whatever keys tokens name
EMPTY_PAUSE_S: Final = 5.0  # ... as long as none ever succeeded
NO_KEY: Final = f"holds no public key for {RSA} (RSA, {LEAST_RSA_BITS} bits or more) or {EC} (EC on P-256)"
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One public key. Its kind fixes the algorithm: what a token says of itself never does."""

    key_id: str | None
    algorithm: str
    public: Any


class SigningKeys(Protocol):
    """Where keys come from. `version` changes whenever the keys do."""

    @property
    def version(self) -> int: ...

    @property
    def stale(self) -> bool:
        """Whether the next `refresh` reads or fetches, which an event loop should not wait for."""

    @property
    def may_fetch(self) -> bool:
        """Whether a key that is not known would be fetched, or is being fetched now."""

    def refresh(self) -> None:
        """Have the keys as they are now, if they can be had; else those from before stay."""

    def find(self, key_id: str | None, algorithm: str) -> Sequence[SigningKey]:
        """The keys that a token with this header may have been signed with."""


class KeysInFile:
    """Implements SigningKeys with a file, which is read again when it changes. Raises ConfigError when it is wrong."""

    may_fetch: Final = False

    def __init__(self, path: Path, *, sink: EventSink) -> None:
        self._file = Watched(path, lambda file: parse_keys(read_text(file), str(file)), sink=sink)

    @property
    def version(self) -> int:
        return self._file.version

    @property
    def stale(self) -> bool:
        return self._file.changed

    def refresh(self) -> None:
        self._file.current()

    def find(self, key_id: str | None, algorithm: str) -> Sequence[SigningKey]:
        return _fitting(self._file.current(), key_id, algorithm)


class KeysAtUrl:
    """Implements SigningKeys with a URL: fetched when the first token comes, again after a while, and at most once a
    minute for a key that is not among them. A fetch that fails is told, and leaves the keys from before in force.
    """

    def __init__(self, url: str, *, clock: Clock, sink: EventSink, fetch: Callable[[str], str] | None = None) -> None:
        self._url = checked_url(url)
        self._shown = url.partition("?")[0]
        self._clock = clock
        self._sink = sink
        self._fetch = fetch or fetch_text
        self._lock = Lock()
        self._keys: tuple[SigningKey, ...] = ()
        self._tried: float | None = None
        self._fetched: float | None = None
        self.version = 0

    @property
    def stale(self) -> bool:
        old = self._fetched is None or self._clock.monotonic() - self._fetched >= FRESH_S
        return old and self._due

    @property
    def may_fetch(self) -> bool:
        return self._lock.locked() or self._due

    @property
    def _due(self) -> bool:
        pause = EMPTY_PAUSE_S if self._fetched is None else PAUSE_S
        return self._tried is None or self._clock.monotonic() - self._tried >= pause

    def refresh(self) -> None:
        if self.stale:
            self._fetch_once()

    def find(self, key_id: str | None, algorithm: str) -> Sequence[SigningKey]:
        self.refresh()
        found = _fitting(self._keys, key_id, algorithm)
        if not found and self.may_fetch:
            self._fetch_once()
            found = _fitting(self._keys, key_id, algorithm)
        return found

    def _fetch_once(self) -> None:
        """Whoever comes meanwhile waits, and then uses what was fetched."""
        with self._lock:
            if not self._due:
                return
            self._tried = self._clock.monotonic()
            try:
                keys = parse_keys(self._fetch(self._url), self._shown)
            except ConfigError as error:
                self._sink.emit("credentials_unreadable", file=self._shown, error=str(error))
                return
            self._fetched = self._tried
            if keys != self._keys:
                self._keys = keys
                self.version += 1
                self._sink.emit("credentials_read", file=self._shown)


def parse_keys(text: str, file: str) -> tuple[SigningKey, ...]:
    """The keys in a PEM or JWKS document that tokens may be verified with; others in a JWKS are left aside.

    Raises ConfigError, which names `file` and repeats nothing of the text: it may be a private key by mistake.
    """
    keys = tuple(_pem_keys(text, file) if "-----BEGIN" in text else _jwks_keys(text, file))
    if not keys:
        raise ConfigError(NO_KEY, file=file)
    return keys[:MOST_KEYS]


def checked_url(url: str) -> str:
    """The URL itself. Raises InvalidInput unless it is https, or http on this machine, without user and password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
        whole = bool(host) and parts.username is None and parts.password is None
    except ValueError:
        safe = whole = False
    if not (safe and whole):
        raise InvalidInput(
            "is no URL that keys may come from",
            where="CREW_MOE_JWT_KEYS",
            allowed=("https://host/path", "http:// on this machine", "a path of a file"),
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def fetch_text(url: str) -> str:
    """The document at `url`, bounded in size and time; redirects are not followed. Raises ConfigError."""
    import time

    import httpx

    deadline = time.monotonic() + PATIENCE_S
    shown = url.partition("?")[0]
    raw = b""
    try:
        with httpx.stream("GET", url, timeout=PATIENCE_S, follow_redirects=False) as response:
            if response.status_code != httpx.codes.OK:
                raise ConfigError(f"answered with status {response.status_code}", file=shown)
            for chunk in response.iter_bytes():
                raw += chunk
                if len(raw) > MAX_BYTES or time.monotonic() > deadline:
                    raise ConfigError("is too large or too slow", file=shown)
    except httpx.HTTPError as error:
        raise ConfigError(f"can't be fetched ({type(error).__name__})", file=shown) from error
    return as_text(raw, shown)


def _fitting(keys: Sequence[SigningKey], key_id: str | None, algorithm: str) -> Sequence[SigningKey]:
    """Keys without an id, as from a PEM file, fit every id."""
    return [
        key for key in keys if key.algorithm == algorithm and (None in (key_id, key.key_id) or key.key_id == key_id)
    ]


def _pem_keys(text: str, file: str) -> Iterator[SigningKey]:
    serialization = _cryptography("hazmat.primitives.serialization")
    for block in _PEM.finditer(text):
        if "PRIVATE" in block[1]:
            raise ConfigError("holds a private key; give the public one", file=file)
        try:
            public = serialization.load_pem_public_key(block[0].encode())
        except Exception:  # noqa: BLE001 - whatever the library thinks of it, and it may repeat the text
            raise ConfigError(f"holds a PEM block that is no public key ({block[1].lower()})", file=file) from None
        algorithm = _algorithm(public)
        if algorithm is not None:
            yield SigningKey(key_id=None, algorithm=algorithm, public=public)


def _jwks_keys(text: str, file: str) -> Iterator[SigningKey]:
    try:
        document = json.loads(text)
        entries = document["keys"]
    except (ValueError, RecursionError, TypeError, KeyError):
        entries = None
    if not isinstance(entries, list):
        raise ConfigError("is neither PEM nor a JWKS document", file=file, allowed=('{"keys": [...]}',))
    for entry in entries:
        if isinstance(entry, dict) and entry.get("kty") in ("RSA", "EC") and "d" in entry:
            raise ConfigError("holds a private key; give the public ones", file=file)
        key = _jwk(entry) if isinstance(entry, dict) else None
        if key is not None:
            yield key


def _jwk(entry: Mapping[str, Any]) -> SigningKey | None:
    """A key of a JWKS; None for one that is not for signatures, or of another kind."""
    kind, key_id = {"RSA": RSA, "EC": EC}.get(str(entry.get("kty"))), entry.get("kid")
    if kind is None or entry.get("use", "sig") != "sig" or entry.get("alg", kind) != kind:
        return None
    try:
        public = jwt_library().PyJWK(dict(entry), kind).key
    except Exception:  # noqa: BLE001 - a key that the library can't take is like one of another kind
        return None
    fits = _algorithm(public) == kind and isinstance(key_id, str | None)
    return SigningKey(key_id=key_id, algorithm=kind, public=public) if fits else None


def _algorithm(public: Any) -> str | None:
    """The one algorithm for which a key is used here; None for a key that is weak or of another kind."""
    rsa, ec = (_cryptography(f"hazmat.primitives.asymmetric.{name}") for name in ("rsa", "ec"))
    if isinstance(public, rsa.RSAPublicKey):
        return RSA if public.key_size >= LEAST_RSA_BITS else None
    return EC if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1) else None


def jwt_library() -> ModuleType:
    """PyJWT. Raises MissingExtra."""
    try:
        import jwt
    except ImportError as missing:
        raise MissingExtra("service", "jwt") from missing
    return jwt


def _cryptography(module: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(f"cryptography.{module}")
    except ImportError as missing:
        raise MissingExtra("service", "cryptography") from missing
