"""Bearer tokens: JSON Web Tokens with an issuer, an audience and an end, signed with RS256 or ES256.

A token that was verified is remembered by its digest until it ends, so that the next request with it costs
microseconds. It can't be called back before that, unless the key that signed it goes: when the keys change, all that
was remembered is forgotten. Whoever needs to call single credentials back gives short lives to tokens, or API keys.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from threading import Lock
from typing import Any, Final

from crew_moe.auth.caller import Caller, Unauthorized
from crew_moe.auth.claims import LEEWAY_S, Claims, caller_of, read_claims
from crew_moe.auth.signing_keys import EC, RSA, SigningKey, SigningKeys, jwt_library
from crew_moe.ports import Clock

LONGEST: Final = 16_000  # characters
REMEMBERED: Final = 10_000
_COMPACT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)  # one way alone to write a token: no padding
ALGORITHMS: Final = (RSA, EC)
# Times are checked by our own clock, and all claims by their shape.
_OPTIONS: Final = {
    "require": ["exp", "iss", "aud", "sub"],
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_jti"), False),
}
_MALFORMED: Final = Unauthorized(code="invalid", message="the credential is neither a token nor an API key")
_ALGORITHM: Final = Unauthorized(
    code="invalid", message=f"the token's algorithm is not accepted; valid: {', '.join(ALGORITHMS)}"
)
_KEY: Final = Unauthorized(code="invalid", message="the token was signed with a key that is not known here")
_SIGNATURE: Final = Unauthorized(code="invalid", message="the token's signature is wrong")
_FOREIGN: Final[dict[str, Unauthorized]] = {
    "InvalidIssuerError": Unauthorized(code="invalid", message="the token comes from another issuer"),
    "InvalidAudienceError": Unauthorized(code="invalid", message="the token is meant for another audience"),
    "InvalidSignatureError": _SIGNATURE,
}


class Tokens:
    """Verifies tokens of one issuer for one audience. Raises MissingExtra without PyJWT."""

    def __init__(
        self, *, issuer: str, audience: str, keys: SigningKeys, clock: Clock, remembered: int = REMEMBERED
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._clock = clock
        self._remembered = remembered
        self._jwt: Any = jwt_library()
        self._lock = Lock()
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._version = keys.version

    def may_wait(self, token: str) -> bool:
        """Whether to verify this token may read or fetch keys, which an event loop should not wait for."""
        return self._keys.stale or (self._keys.may_fetch and _digest(token) not in self._known)

    def verify(self, token: str) -> Caller | Unauthorized:
        """Who comes with this token, or why it is not accepted."""
        if len(token) > LONGEST:
            return _MALFORMED
        self._keys.refresh()
        digest, now_s = _digest(token), self._clock.now().timestamp()
        known = self._recall(digest)
        if known is not None and now_s < known[1]:
            return known[0]
        version = self._keys.version
        claims = self._claims(token)
        if isinstance(claims, Unauthorized):
            return claims
        caller = claims.fault(now_s) or caller_of(claims)
        if isinstance(caller, Caller):
            self._remember(digest, caller, claims.exp + LEEWAY_S, version)
        return caller

    def _claims(self, token: str) -> Claims | Unauthorized:
        """What a token says whose signature, issuer and audience are right."""
        if _COMPACT.fullmatch(token) is None:
            return _MALFORMED
        try:
            header = self._jwt.get_unverified_header(token)
        except self._jwt.PyJWTError:
            return _MALFORMED
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            return _ALGORITHM
        refused = _KEY
        for key in self._keys.find(key_id, algorithm):
            told = self._decoded(token, key)
            if isinstance(told, dict):
                return read_claims(told)
            refused = told
            if told is not _SIGNATURE:
                break
        return refused

    def _decoded(self, token: str, key: SigningKey) -> dict[str, Any] | Unauthorized:
        try:
            told: dict[str, Any] = self._jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options=_OPTIONS,
            )
        except self._jwt.MissingRequiredClaimError as error:
            return Unauthorized(code="invalid", message=f"the token's claim '{error.claim}' is missing")
        except self._jwt.PyJWTError as error:
            return _FOREIGN.get(type(error).__name__, _MALFORMED)
        return told

    def _recall(self, digest: bytes) -> tuple[Caller, float] | None:
        with self._lock:
            if self._keys.version != self._version:
                self._known.clear()
                self._version = self._keys.version
            known = self._known.get(digest)
            if known is not None:
                self._known.move_to_end(digest)
            return known

    def _remember(self, digest: bytes, caller: Caller, until_s: float, version: int) -> None:
        with self._lock:
            if version != self._keys.version:
                return
            self._known[digest] = (caller, until_s)
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
