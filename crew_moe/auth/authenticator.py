"""Who is asking, whichever way they come: one check for HTTP, MCP and the WebSocket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, Self

from crew_moe.auth.caller import LOCAL, Caller, Unauthorized
from crew_moe.auth.keys import PREFIX, ApiKeys
from crew_moe.auth.signing_keys import KeysAtUrl, KeysInFile, SigningKeys
from crew_moe.auth.tokens import Tokens
from crew_moe.clock import SystemClock
from crew_moe.ports import Clock, EventSink
from crew_moe.settings import Settings

SCHEME: Final = "bearer"
_MISSING: Final = Unauthorized(
    code="missing", message="no credential came; send 'Authorization: Bearer <token or API key>'"
)
_SCHEME: Final = Unauthorized(code="invalid", message="the Authorization header must be 'Bearer <token or API key>'")
_NO_KEYS: Final = Unauthorized(code="invalid", message="API keys are not accepted here; send a token")
_NO_TOKENS: Final = Unauthorized(code="invalid", message="tokens are not accepted here; send an API key")


class _Silent:
    """Implements ports.EventSink for those who do not listen."""

    def emit(self, event: str, /, **fields: Any) -> None:
        """Let it go."""


class Authenticator:
    """Accepts tokens, API keys or both; with neither, nobody is asked and everybody is LOCAL.

    A bad credential is a value, never an error. `authenticate` may read a changed file, or fetch keys for up to a few
    seconds; `aauthenticate` does such work off the event loop.
    """

    def __init__(self, tokens: Tokens | None = None, keys: ApiKeys | None = None) -> None:
        self._tokens = tokens
        self._keys = keys

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock | None = None, sink: EventSink | None = None) -> Self:
        """As the environment says. Raises InvalidInput (for a file: ConfigError) and MissingExtra."""
        time, listener = clock or SystemClock(), sink or _Silent()
        tokens = keys = None
        if settings.jwt_keys:
            tokens = Tokens(
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
                keys=signing_keys(settings.jwt_keys, clock=time, sink=listener),
                clock=time,
            )
        if settings.api_keys is not None:
            keys = ApiKeys(settings.api_keys, clock=time, sink=listener)
        return cls(tokens=tokens, keys=keys)

    @property
    def enabled(self) -> bool:
        """Whether callers have to say who they are."""
        return self._tokens is not None or self._keys is not None

    def authenticate(self, authorization: str | None, *, api_key: str | None = None) -> Caller | Unauthorized:
        """Who comes with this Authorization header, or, where there is none, with this X-API-Key header."""
        if not self.enabled:
            return LOCAL
        credential = _credential(authorization, api_key)
        return credential if isinstance(credential, Unauthorized) else self._verify(credential)

    async def aauthenticate(self, authorization: str | None, *, api_key: str | None = None) -> Caller | Unauthorized:
        """As `authenticate`; never blocks the event loop on a file or the network."""
        if not self.enabled:
            return LOCAL
        credential = _credential(authorization, api_key)
        return credential if isinstance(credential, Unauthorized) else await self.aauthenticate_credential(credential)

    def authenticate_credential(self, credential: str) -> Caller | Unauthorized:
        """Who comes with a bare token or API key."""
        if not self.enabled:
            return LOCAL
        bare = credential.strip()
        return self._verify(bare) if bare else _MISSING

    async def aauthenticate_credential(self, credential: str) -> Caller | Unauthorized:
        """As `authenticate_credential`; never blocks the event loop on a file or the network."""
        if self._may_wait(credential.strip()):
            return await asyncio.to_thread(self.authenticate_credential, credential)
        return self.authenticate_credential(credential)

    def _verify(self, credential: str) -> Caller | Unauthorized:
        if credential.startswith(PREFIX):
            return _NO_KEYS if self._keys is None else self._keys.verify(credential)
        return _NO_TOKENS if self._tokens is None else self._tokens.verify(credential)

    def _may_wait(self, credential: str) -> bool:
        if credential.startswith(PREFIX):
            return self._keys is not None and self._keys.may_wait
        return self._tokens is not None and self._tokens.may_wait(credential)


def signing_keys(place: str, *, clock: Clock, sink: EventSink) -> SigningKeys:
    """The keys in a file, or at a URL, whichever `place` is."""
    return KeysAtUrl(place, clock=clock, sink=sink) if "://" in place else KeysInFile(Path(place), sink=sink)


def _credential(authorization: str | None, api_key: str | None) -> str | Unauthorized:
    if authorization is None or not authorization.strip():
        bare = (api_key or "").strip()
        return bare or _MISSING
    scheme, _, bare = authorization.strip().partition(" ")
    return bare.strip() if scheme.lower() == SCHEME and bare.strip() else _SCHEME
