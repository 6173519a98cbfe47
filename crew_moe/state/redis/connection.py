"""One Redis database as the stores use it: short waits, no hidden second tries, one clear sentence when it fails.

A command whose answer got lost may have been carried out. It is never sent again behind the caller's back: that would
count a failure, or charge an amount, twice. Every script of a store touches keys of one hash tag, so that they lie in
one slot. Whatever changes more than one thing is a script, which Redis carries out whole or not at all.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from crew_moe.errors import InvalidInput, MissingExtra, StateError
from crew_moe.state.forking import survives_fork

if TYPE_CHECKING:
    from redis import Redis

SCHEMES: Final = ("redis://", "rediss://")
FORM: Final = "redis://user:password@host:6379/0"
TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
CONNECT_S: Final = 1.0
ANSWER_S: Final = 1.0
SILENCE_S: Final = 0.25  # one call of the core asks several times: only the first one waits for a server that hangs
PREFIX: Final = "crew-moe:"  # of every key; the next part, in braces, is the hash tag

Value = str | int | float | bytes


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, which the server knows by its digest once it has seen it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        # SHA-1 is how Redis names scripts; nothing is kept safe by it.
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


@cache
def script(name: str) -> Script:
    """The script in `lua/NAME.lua`."""
    return Script((Path(__file__).parent / "lua" / f"{name}.lua").read_text(encoding="utf-8"))


class Connection:
    """A database that threads, processes and hosts share; safe for threads and forks. Answers are text.

    Opening asks the server for a sign of life. Raises InvalidInput for a malformed URL, MissingExtra without the
    `redis` library, StateError for whatever keeps the server from being asked; no message holds the URL's password.
    A call waits for a second at most, twice that where it must connect first; after a server that did not answer,
    calls fail at once for a moment. A server that comes back is used again without further ado.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.where = _shown(url)
        self._errors = _redis().exceptions
        self._closed = False
        self._silent_until = 0.0
        self.begin_anew()
        try:
            self.execute("PING")
        except UnicodeError:  # from Python's own look-up of a name that no host can have
            raise _refusal() from None
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: sockets and locks are the parent's; connections are made when they are needed."""
        client = _client(self._url)
        self._client = client
        self._send: Callable[..., Any] = client.execute_command

    def execute(self, *command: Value) -> Any:
        """One command and its answer."""
        self._check()
        try:
            return self._send(*command)
        except self._errors.RedisError as error:
            raise self._lost(error) from error

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Value] = ()) -> Any:
        """One script and its answer; sent by its digest, and in full where the server does not know it (any more)."""
        self._check()
        try:
            return self._send("EVALSHA", script.digest, len(keys), *keys, *args)
        except self._errors.NoScriptError:
            return self.execute("EVAL", script.text, len(keys), *keys, *args)
        except self._errors.RedisError as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Give the sockets back; idempotent."""
        self._closed = True
        self._client.close()

    def _check(self) -> None:
        if self._closed:
            raise StateError(f"the state in {self.where} is closed")
        if time.monotonic() < self._silent_until:
            raise StateError(f"the state in {self.where} can't be used: it did not answer in time a moment ago")

    def _lost(self, error: Exception) -> StateError:
        what = str(error)
        if isinstance(error, self._errors.TimeoutError):
            self._silent_until = time.monotonic() + SILENCE_S
            what = "it did not answer in time"
        return StateError(f"the state in {self.where} can't be used: {what}")


def _redis() -> ModuleType:
    try:
        import redis
    except ImportError as missing:
        raise MissingExtra("redis", "redis") from missing
    return redis


def _client(url: str) -> Redis:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client: Redis = Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
        encoding_errors="surrogatepass",  # names may hold whatever a Python string holds
    )
    return client


def _shown(url: str) -> str:
    """The URL without user, password and options, for messages. Raises InvalidInput, which repeats none of them."""
    try:
        parts = urlsplit(url)
        address = _address(parts)
    except ValueError:
        address = None
    if address is None:
        raise _refusal()
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if parts.scheme != "rediss" or name not in TLS_OPTIONS:
            allowed = TLS_OPTIONS if parts.scheme == "rediss" else ()
            raise InvalidInput(f"unknown option '{name[:40]}' in the URL", where="state", value=name, allowed=allowed)
    return address


def _refusal() -> InvalidInput:
    return InvalidInput("the URL names no Redis database", where="state", allowed=[FORM])


def _address(parts: SplitResult) -> str | None:
    """redis://host:port/database; None where something else stands in their place. Raises ValueError for a bad port."""
    database = parts.path.removeprefix("/")
    if f"{parts.scheme}://" not in SCHEMES or not parts.hostname or parts.fragment:
        return None
    if database and not (database.isascii() and database.isdigit()):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 6379}/{int(database or 0)}"
