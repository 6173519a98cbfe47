"""An issuer of credentials for tests: keys are made once per run, tokens and key files as they are asked for."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import ALL_SCOPES, AccessScope
from crew_moe.auth.keys import new_key
from crew_moe.auth.keys_file import change_keys
from crew_moe.clock import ManualClock
from crew_moe.ports import Clock, EventSink
from crew_moe.settings import Settings

ISSUER: Final = "https://issuer.example"
AUDIENCE: Final = "crew-moe"
TENANT: Final = "acme"
LIFE_S: Final = 3600


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key to sign with and its public half. `key_id` is what tokens call it."""

    algorithm: str
    key_id: str
    private: Any

    @property
    def public_pem(self) -> str:
        return str(self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

    @property
    def private_pem(self) -> str:
        return str(self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half as a JWKS holds it."""
        kind: Any = RSAAlgorithm if self.algorithm == "RS256" else ECAlgorithm
        return {**kind.to_jwk(self.private.public_key(), as_dict=True), "kid": self.key_id, "use": "sig"}


@cache
def rsa_pair(key_id: str = "rsa-1", bits: int = 2048) -> KeyPair:
    """The RSA pair of this name; the same one over the whole run."""
    return KeyPair("RS256", key_id, rsa.generate_private_key(public_exponent=65537, key_size=bits))


@cache
def ec_pair(key_id: str = "ec-1") -> KeyPair:
    """The EC pair of this name; the same one over the whole run."""
    return KeyPair("ES256", key_id, ec.generate_private_key(ec.SECP256R1()))


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token, with some changed; None leaves a claim out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "client-7",
        "tenant": TENANT,
        "scope": AccessScope.READ.value,
        "iat": now,
        "exp": now + LIFE_S,
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(pair: KeyPair | None = None, *, headers: dict[str, Any] | None = None, **changed: Any) -> str:
    """A token of these claims, signed with the pair (default: `ec_pair()`). A header that is None is left out."""
    pair = pair or ec_pair()
    told = {name: value for name, value in {"kid": pair.key_id, **(headers or {})}.items() if value is not None}
    return jwt.encode(claims(**changed), pair.private, pair.algorithm, headers=told)


def bearer(credential: str) -> str:
    """The Authorization header for a token or an API key."""
    return f"Bearer {credential}"


def jwks(*pairs: KeyPair) -> str:
    """The document that an issuer publishes."""
    return json.dumps({"keys": [pair.jwk for pair in pairs]})


def forged(header: dict[str, Any], payload: dict[str, Any], sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """A token with any header, claims and signature, as a library would refuse to make it."""
    parts = [_base64(json.dumps(part).encode()) for part in (header, payload)]
    return ".".join([*parts, _base64(sign(".".join(parts).encode()))])


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def write_public_key(folder: Path, pair: KeyPair | None = None) -> Path:
    """A PEM file with the public half of the pair (default: `ec_pair()`)."""
    file = folder / "public.pem"
    file.write_text((pair or ec_pair()).public_pem, encoding="utf-8")
    return file


def add_api_key(
    file: Path,
    *,
    tenant: str | None = TENANT,
    subject: str = "robot",
    scopes: Sequence[AccessScope] = (AccessScope.READ,),
    roles: Sequence[str] = (),
    life: timedelta | None = None,
    now: datetime | None = None,
) -> str:
    """Make a key, add it to keys.yaml, and give it back as a client sends it. Without a tenant it is an operator's."""
    key, entry = new_key(
        subject=subject, tenant=tenant, scopes=scopes, roles=roles, now=now or datetime.now(UTC), life=life
    )
    change_keys(file, lambda entries: [*entries, entry])
    return key


def revoke_api_key(file: Path, key: str) -> None:
    """Withdraw a key that `add_api_key` made."""
    key_id = key.split("_")[1]
    change_keys(
        file,
        lambda entries: [one.model_copy(update={"revoked": True}) if one.id == key_id else one for one in entries],
    )


def settings(folder: Path, **changed: Any) -> Settings:
    """Settings under which tokens of `token()` and keys of `add_api_key(folder / "keys.yaml")` are accepted."""
    file = folder / "keys.yaml"
    if not file.exists():
        change_keys(file, lambda entries: entries)
    given: dict[str, Any] = {
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_keys": str(write_public_key(folder)),
        "api_keys": file,
    }
    return Settings.model_validate(given | changed)


def authenticator(folder: Path, *, clock: Clock | None = None, sink: EventSink | None = None) -> Authenticator:
    """One that accepts tokens of `token()` and keys of `add_api_key(folder / "keys.yaml")`."""
    return Authenticator.from_settings(settings(folder), clock=clock, sink=sink)


def admin_token(**changed: Any) -> str:
    """A token that may do everything in its tenant; with `tenant=None`, an operator's."""
    return token(scope=" ".join(ALL_SCOPES), **changed)


def clock_now() -> ManualClock:
    """A clock that stands at this moment and is moved by hand."""
    return ManualClock(datetime.now(UTC))


class Publisher:
    """What an issuer's JWKS endpoint answers, and how often it was `asked`. While `silent` it says nothing."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.silent = False
        self.reached = Event()
        self.ended = Event()
        self.url = ""


@contextmanager
def published(*pairs: KeyPair) -> Iterator[Publisher]:
    """A JWKS endpoint on loopback that publishes these keys, until it is told otherwise."""
    publisher = Publisher(jwks(*pairs))

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.asked += 1
            publisher.reached.set()
            if publisher.silent:
                publisher.ended.wait()
                return
            self.send_response(publisher.status)
            for name, value in publisher.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(publisher.text.encode())

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    publisher.url = f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield publisher
    finally:
        publisher.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
