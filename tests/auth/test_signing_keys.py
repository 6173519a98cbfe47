"""Where the keys of tokens come from: files that change, and a JWKS endpoint that rotates, fails and hangs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from crew_moe.auth import signing_keys
from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import Caller, Unauthorized
from crew_moe.auth.signing_keys import EMPTY_PAUSE_S, FRESH_S, PAUSE_S, KeysAtUrl, checked_url, parse_keys
from crew_moe.auth.tokens import Tokens
from crew_moe.clock import ManualClock
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.telemetry.events import Recorder
from tests.auth import issuing
from tests.auth.issuing import KeyPair, Publisher, ec_pair, rsa_pair, token

OLD, NEW = ec_pair("old"), rsa_pair("new")


def _jwks(*entries: Any) -> str:
    return json.dumps({"keys": list(entries)})


def _pair_of(private: Any) -> KeyPair:
    return KeyPair("ES256", "other", private)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """An issuer that publishes its old key."""
    with issuing.published(OLD) as one:
        yield one


class Remote:
    """A verifier of tokens with keys from a URL, its clock, and what it told."""

    def __init__(self, url: str) -> None:
        self.clock = issuing.clock_now()
        self.sink = Recorder()
        self.keys = KeysAtUrl(url, clock=self.clock, sink=self.sink)
        self.tokens = Tokens(issuer=issuing.ISSUER, audience=issuing.AUDIENCE, keys=self.keys, clock=self.clock)

    def accepts(self, pair: KeyPair, **changed: Any) -> bool:
        now = int(self.clock.now().timestamp())
        return isinstance(self.tokens.verify(token(pair, exp=now + 9999, iat=now, **changed)), Caller)

    @property
    def told(self) -> list[str]:
        return [name for name, _ in self.sink.events]


@pytest.fixture
def remote(publisher: Publisher) -> Remote:
    return Remote(publisher.url)


@pytest.mark.parametrize("text", [NEW.public_pem, issuing.jwks(NEW), _jwks({**NEW.jwk, "alg": "RS256"})])
def test_a_public_key_is_read_from_pem_and_jwks(text: str) -> None:
    (key,) = parse_keys(text, "f")

    assert key.algorithm == "RS256"
    assert key.public.public_numbers() == NEW.private.public_key().public_numbers()


def test_a_pem_file_may_hold_several_keys() -> None:
    keys = parse_keys(f"the old one\n{OLD.public_pem}\nthe new one\n{NEW.public_pem}", "f")

    assert [key.algorithm for key in keys] == ["ES256", "RS256"]


def test_keys_of_other_kinds_are_left_aside() -> None:
    others: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "old"},
        {**NEW.jwk, "use": "enc"},
        {**NEW.jwk, "alg": "RS512"},
        {**NEW.jwk, "kid": 7},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {},
        "text",
        None,
    ]

    assert [key.key_id for key in parse_keys(_jwks(*others, OLD.jwk), "f")] == ["old"]
    with pytest.raises(ConfigError, match="f: holds no public key for RS256"):
        parse_keys(_jwks(*others), "f")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is neither PEM nor a JWKS document"),
        ("[]", "is neither PEM nor a JWKS document"),
        ('{"keys": {}}', "is neither PEM nor a JWKS document"),
        ("[" * 100_000, "is neither PEM nor a JWKS document"),
        ('{"keys": []}', "holds no public key"),
        (NEW.private_pem, "holds a private key; give the public one"),
        (_jwks({**NEW.jwk, "d": "AQAB"}), "holds a private key"),
        (rsa_pair("weak", 1024).public_pem, "2048 bits or more"),
        (_pair_of(ec.generate_private_key(ec.SECP384R1())).public_pem, "EC on P-256"),
        (_pair_of(ed25519.Ed25519PrivateKey.generate()).public_pem, "holds no public key"),
        ("-----BEGIN PUBLIC KEY-----\nc2VjcmV0\n-----END PUBLIC KEY-----", "is no public key (public key)"),
        ("-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----", "is no public key (certificate)"),
        ("-----BEGIN PUBLIC KEY-----\nc2VjcmV0", "holds no public key"),
    ],
)
def test_what_holds_no_public_key_is_one_clear_error(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_keys(text, "the/file")

    assert str(caught.value).startswith("the/file: ")
    assert told in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://issuer.example/jwks", "http://127.0.0.1:8/j", "http://[::1]/j", "http://localhost/j"]
)
def test_a_safe_url_is_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/jwks",
        "http://127.0.0.1.example/jwks",
        "http://localhost.example/jwks",
        "http://10.0.0.1/jwks",
        "ftp://127.0.0.1/jwks",
        "file:///etc/passwd",
        "https:///jwks",
        "https://user:pw@issuer.example/jwks",
        "http://[::1/jwks",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="CREW_MOE_JWT_KEYS: is no URL that keys may come from") as caught:
        checked_url(url)

    assert url not in str(caught.value)


def test_nothing_is_fetched_before_the_first_token(publisher: Publisher, remote: Remote) -> None:
    assert publisher.asked == 0
    assert all(remote.accepts(OLD, sub=f"s{number}") for number in range(20))
    assert publisher.asked == 1


def test_a_rotated_key_is_found_without_a_restart(publisher: Publisher, remote: Remote) -> None:
    assert remote.accepts(OLD)
    publisher.text = issuing.jwks(OLD, NEW)

    assert not remote.accepts(NEW)
    remote.clock.advance(PAUSE_S)
    assert remote.accepts(NEW)
    assert remote.accepts(OLD)
    assert publisher.asked == 2


def test_unknown_keys_make_it_ask_once_a_minute_at_most(publisher: Publisher, remote: Remote) -> None:
    remote.accepts(OLD)
    for number in range(50):
        assert not remote.accepts(ec_pair("stranger"), sub=f"s{number}")
    asked = publisher.asked
    remote.clock.advance(PAUSE_S)
    for number in range(50):
        assert not remote.accepts(ec_pair("stranger"), sub=f"s{number}")

    assert (asked, publisher.asked) == (1, 2)


def test_a_withdrawn_key_ends_also_for_remembered_tokens(publisher: Publisher, remote: Remote) -> None:
    given = token(OLD)
    assert isinstance(remote.tokens.verify(given), Caller)
    publisher.text = issuing.jwks(NEW)
    remote.clock.advance(FRESH_S)

    assert isinstance(remote.tokens.verify(given), Unauthorized)


def test_keys_that_did_not_change_leave_remembered_tokens_alone(publisher: Publisher, remote: Remote) -> None:
    given = token(OLD)
    first = remote.tokens.verify(given)
    remote.clock.advance(FRESH_S)

    assert remote.tokens.verify(given) is first
    assert publisher.asked == 2


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 302, "headers": {"Location": "/elsewhere"}},
        {"text": "<html>"},
        {"text": '{"keys": []}'},
        {"text": issuing.jwks(OLD) + " " * signing_keys.MAX_BYTES},
    ],
)
def test_an_endpoint_in_trouble_leaves_the_keys_in_force(
    publisher: Publisher, remote: Remote, trouble: dict[str, Any]
) -> None:
    assert remote.accepts(OLD)
    for name, value in trouble.items():
        setattr(publisher, name, value)
    remote.clock.advance(FRESH_S)

    assert remote.accepts(OLD, sub="another")
    assert publisher.asked == 2
    assert remote.told == ["credentials_read", "credentials_unreadable"]


def test_a_token_is_refused_as_long_as_no_key_was_ever_had(publisher: Publisher, remote: Remote) -> None:
    publisher.status = 503
    assert not any(remote.accepts(OLD) for _ in range(5))
    assert (publisher.asked, remote.told) == (1, ["credentials_unreadable"])

    publisher.status = 200
    remote.clock.advance(EMPTY_PAUSE_S)

    assert remote.accepts(OLD)


def test_an_endpoint_that_hangs_is_left(publisher: Publisher, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "PATIENCE_S", 0.1)
    publisher.silent = True
    started = time.monotonic()

    assert not remote.accepts(OLD)
    assert time.monotonic() - started < 2.0


def test_nobody_at_the_address_is_told() -> None:
    gone = Remote("http://127.0.0.1:1/jwks?key=very-secret")

    assert not gone.accepts(OLD)
    (event,) = gone.sink.events
    assert event[0] == "credentials_unreadable"
    assert "can't be fetched (ConnectError)" in event[1]["error"]
    assert "very-secret" not in str(event)


def test_many_who_come_first_fetch_once(publisher: Publisher, remote: Remote) -> None:
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda number: remote.accepts(OLD, sub=f"s{number}"), range(40)))

    assert all(accepted)
    assert publisher.asked == 1


async def test_an_event_loop_does_not_wait_for_the_endpoint(publisher: Publisher) -> None:
    clock = ManualClock(issuing.clock_now().now())
    keys = KeysAtUrl(publisher.url, clock=clock, sink=Recorder())
    door = Authenticator(Tokens(issuer=issuing.ISSUER, audience=issuing.AUDIENCE, keys=keys, clock=clock))
    publisher.silent = True
    waiting = asyncio.ensure_future(door.aauthenticate(issuing.bearer(token(OLD))))
    await asyncio.to_thread(publisher.reached.wait)
    turns = [await asyncio.sleep(0, result=number) for number in range(10)]

    assert turns == list(range(10))
    assert not waiting.done()
    publisher.ended.set()
    assert isinstance(await waiting, Unauthorized)


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(issuing.jwks(OLD), encoding="utf-8")
    sink = Recorder()
    door = Authenticator.from_settings(issuing.settings(tmp_path, jwt_keys=str(file)), sink=sink)
    assert isinstance(door.authenticate_credential(token(OLD)), Caller)

    file.write_text(issuing.jwks(NEW), encoding="utf-8")
    rotated = [type(door.authenticate_credential(token(pair))) for pair in (OLD, NEW)]
    file.write_text("gone wrong", encoding="utf-8")
    after = [type(door.authenticate_credential(token(pair))) for pair in (OLD, NEW)]

    assert rotated == after == [Unauthorized, Caller]
    assert [name for name, _ in sink.events] == ["credentials_read", "credentials_unreadable"]


def test_a_token_without_a_key_id_fits_any_key_of_its_algorithm(remote: Remote, publisher: Publisher) -> None:
    publisher.text = issuing.jwks(ec_pair("another"), NEW, OLD)

    assert remote.accepts(OLD, headers={"kid": None})
