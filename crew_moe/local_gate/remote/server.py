"""One server: what is asked of it, once and within bounds, over connections that are kept."""

from __future__ import annotations

import json
import ssl
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import httpx

from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote.failure import refused
from crew_moe.settings import key_in

MAX_BODY: Final = 16 * 1024 * 1024
CONNECT_S: Final = 3.0
LOOK_S: Final = 3.0
# Shorter than the 5 s after which servers on uvicorn close an idle connection: a request sent just then would be lost.
KEPT_ALIVE_S: Final = 2.0

# First match wins, so the narrow ones come first. No text of the exception is passed on: some quote headers.
_FAULTS: Final = (
    (httpx.ConnectTimeout, Trouble.UNAVAILABLE, "can't be reached"),
    (httpx.PoolTimeout, Trouble.OVERLOADED, "has as many requests as it may get at once"),
    (httpx.TimeoutException, Trouble.TIMEOUT, "gave no whole answer in time"),
    (httpx.ConnectError, Trouble.UNAVAILABLE, "can't be reached"),
    (httpx.UnsupportedProtocol, Trouble.UNAVAILABLE, "has a base_url that is no http(s) address"),
    (httpx.InvalidURL, Trouble.UNAVAILABLE, "has a base_url that is no http(s) address"),
    (httpx.HTTPError, Trouble.UNAVAILABLE, "closed the connection in the middle"),
)
_FAULTY: Final = tuple(fault for fault, _, _ in _FAULTS)


class Server:
    """The server at `base_url`, with or without /v1 at its end; its key is read from `key_env` at every request.

    `timeout_s` bounds an answer from its first to its last byte. Every method raises HostFailed.
    """

    def __init__(self, base_url: str, *, key_env: str | None, timeout_s: float, connections: int) -> None:
        self.root = base_url.rstrip("/").removesuffix("/v1").rstrip("/")
        self.shown = _shown(self.root)
        self._key_env = key_env
        self._timeout_s = timeout_s
        self._limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEPT_ALIVE_S
        )
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def look(self, path: str) -> bytes:
        """What the server tells under this path."""
        with self._answer("GET", path, None, LOOK_S) as (response, deadline):
            return self._whole(response, deadline, Trouble.UNAVAILABLE)

    def ask(self, path: str, body: Mapping[str, Any]) -> bytes:
        """The whole answer to this JSON."""
        with self._answer("POST", path, body, self._timeout_s) as (response, deadline):
            return self._whole(response, deadline)

    def listen(self, path: str, body: Mapping[str, Any]) -> Generator[bytes, None, None]:
        """The answer to this JSON as it comes in; closing the iterator closes the connection."""
        with self._answer("POST", path, body, self._timeout_s) as (response, deadline):
            if not response.is_success:
                self._whole(response, deadline)
            yield from self._pieces(response, deadline)

    def close(self) -> None:
        """Let go of all connections; a later request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float
    ) -> Iterator[tuple[httpx.Response, float]]:
        """The head of the answer, and until when its last byte must be here."""
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        content = None if body is None else _encoded(body)
        deadline = time.monotonic() + timeout_s
        try:
            with self._opened().stream(
                method, f"{self.root}{path}", content=content, headers=self._headers(), timeout=timeout
            ) as response:
                yield response, deadline
            return
        except _FAULTY as error:
            trouble, said = next((trouble, said) for fault, trouble, said in _FAULTS if isinstance(error, fault))
        raise HostFailed(trouble, f"the server at {self.shown} {said}")

    def _whole(self, response: httpx.Response, deadline: float, absent: Trouble = Trouble.MISSING_WEIGHTS) -> bytes:
        body = b"".join(self._pieces(response, deadline))
        if response.is_success:
            return body
        status, headers = response.status_code, response.headers
        raise refused(status, headers, body, at=self.shown, key_env=self._key_env, absent=absent)

    def _pieces(self, response: httpx.Response, deadline: float) -> Iterator[bytes]:
        size = 0
        for piece in response.iter_bytes():
            size += len(piece)
            if size > MAX_BODY:
                raise HostFailed(Trouble.MODEL_FAILED, f"the server at {self.shown} sent more than {MAX_BODY} bytes")
            if time.monotonic() > deadline:
                raise HostFailed(Trouble.TIMEOUT, f"the server at {self.shown} gave no whole answer in time")
            yield piece

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "crew-moe"}
        key = key_in(self._key_env)
        if key is None:
            return headers
        if not (key.isascii() and key.isprintable()):
            raise HostFailed(Trouble.UNAVAILABLE, f"the key in {self._key_env} has characters that no header can carry")
        return {**headers, "Authorization": f"Bearer {key}"}

    def _opened(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                # Not by the environment's proxy: it would read texts that stay with machines of the user's own.
                self._client = httpx.Client(
                    verify=_certificates(), limits=self._limits, follow_redirects=False, trust_env=False
                )
                weakref.finalize(self, self._client.close)  # for a host that is dropped and never unloaded
            return self._client


def read_json(body: bytes, *, at: str) -> Any:
    """The JSON in an answer. Raises HostFailed where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    raise HostFailed(Trouble.MODEL_FAILED, f"the server at {at} answered with what is no JSON")


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust, read once (35 ms) and not for every host."""
    return httpx.create_ssl_context()


def _encoded(body: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON; half a surrogate pair becomes '?'."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", errors="replace")
    except (TypeError, ValueError, RecursionError):
        pass
    raise HostFailed(Trouble.INVALID_INPUT, "the options, or the chat, hold what JSON can't say")


def _shown(root: str) -> str:
    """The address without what may be a password in it."""
    scheme, slashes, rest = root.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"
