"""One check for all surfaces: which header counts, and which verifier is asked."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import LOCAL, AccessScope, Caller, Unauthorized
from crew_moe.errors import MissingExtra
from crew_moe.settings import Settings
from tests.auth import issuing


def _code(answer: Caller | Unauthorized) -> str:
    assert isinstance(answer, Unauthorized)
    return answer.code


def test_everybody_is_local_where_nothing_is_set_up() -> None:
    open_door = Authenticator.from_settings(Settings())

    assert not open_door.enabled
    assert open_door.authenticate(None) is LOCAL
    assert open_door.authenticate("Bearer of-some-client") is LOCAL
    assert open_door.authenticate_credential("") is LOCAL


def test_a_token_is_accepted_with_its_tenant_and_scopes(tmp_path: Path) -> None:
    caller = issuing.authenticator(tmp_path).authenticate(issuing.bearer(issuing.token(roles=["dev"])))

    assert isinstance(caller, Caller)
    assert (caller.subject, caller.tenant, set(caller.scopes)) == ("client-7", "acme", {AccessScope.READ})
    assert caller.principal.roles == {"dev"}


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_an_api_key_is_accepted_as_bearer(tmp_path: Path, scheme: str) -> None:
    key = issuing.add_api_key(tmp_path / "keys.yaml", subject="ci")

    caller = issuing.authenticator(tmp_path).authenticate(scheme + key)

    assert isinstance(caller, Caller)
    assert (caller.subject, caller.tenant) == ("ci", "acme")


def test_an_api_key_is_accepted_in_its_own_header(tmp_path: Path) -> None:
    key = issuing.add_api_key(tmp_path / "keys.yaml")
    door = issuing.authenticator(tmp_path)

    assert isinstance(door.authenticate(None, api_key=key), Caller)
    assert isinstance(door.authenticate("", api_key=key), Caller)
    assert _code(door.authenticate(None, api_key="")) == "missing"


def test_the_authorization_header_comes_first(tmp_path: Path) -> None:
    key = issuing.add_api_key(tmp_path / "keys.yaml")

    assert _code(issuing.authenticator(tmp_path).authenticate("Bearer cmk_a_b", api_key=key)) == "invalid"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing"),
        ("", "missing"),
        ("   ", "missing"),
        ("Bearer", "invalid"),
        ("Bearer  ", "invalid"),
        ("Basic dXNlcjpwYXNz", "invalid"),
        ("cmk_0000_1111", "invalid"),
        ("Bearer \x00\ud800", "invalid"),
    ],
)
def test_a_header_without_a_credential_is_refused(tmp_path: Path, header: str | None, code: str) -> None:
    assert _code(issuing.authenticator(tmp_path).authenticate(header)) == code


def test_a_credential_under_another_scheme_is_refused(tmp_path: Path) -> None:
    key = issuing.add_api_key(tmp_path / "keys.yaml")

    for header in (f"Basic {key}", f"Token {key}", f"Bearer: {key}", f"Bearer {key}, Bearer {key}"):
        assert _code(issuing.authenticator(tmp_path).authenticate(header)) == "invalid"


def test_only_what_is_set_up_is_accepted(tmp_path: Path) -> None:
    key = issuing.add_api_key(tmp_path / "keys.yaml")
    tokens_only = Authenticator.from_settings(issuing.settings(tmp_path, api_keys=None))
    keys_only = Authenticator.from_settings(Settings(api_keys=tmp_path / "keys.yaml"))

    assert _code(tokens_only.authenticate(issuing.bearer(key))) == "invalid"
    assert _code(keys_only.authenticate(issuing.bearer(issuing.token()))) == "invalid"
    assert isinstance(tokens_only.authenticate(issuing.bearer(issuing.token())), Caller)
    assert isinstance(keys_only.authenticate(issuing.bearer(key)), Caller)


async def test_the_waiting_forms_give_the_same_answers(tmp_path: Path) -> None:
    key = issuing.add_api_key(tmp_path / "keys.yaml")
    door = issuing.authenticator(tmp_path)

    for credential in (key, issuing.token(), "cmk_a_b", "x.y.z"):
        expected = door.authenticate_credential(credential)
        assert await door.aauthenticate_credential(credential) == expected
        assert await door.aauthenticate(issuing.bearer(credential)) == expected
    assert _code(await door.aauthenticate(None)) == "missing"
    assert await Authenticator().aauthenticate(None) is LOCAL


async def test_a_revoked_key_ends_with_the_next_request(tmp_path: Path) -> None:
    key = issuing.add_api_key(tmp_path / "keys.yaml")
    door = issuing.authenticator(tmp_path)
    assert isinstance(await door.aauthenticate_credential(key), Caller)

    issuing.revoke_api_key(tmp_path / "keys.yaml", key)

    assert _code(await door.aauthenticate_credential(key)) == "invalid"


@pytest.mark.parametrize("module", ["jwt", "cryptography.hazmat.primitives.serialization"])
def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    wanted = issuing.settings(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtra, match=r"run: pip install 'crew-moe\[service\]'"):
        Authenticator.from_settings(wanted)
    assert Authenticator.from_settings(wanted.model_copy(update={"jwt_keys": ""})).enabled


@pytest.mark.parametrize("kind", ["token", "key"])
def test_a_known_credential_costs_microseconds(tmp_path: Path, kind: str) -> None:
    credential = issuing.add_api_key(tmp_path / "keys.yaml") if kind == "key" else issuing.token()
    door, header = issuing.authenticator(tmp_path), issuing.bearer(credential)
    door.authenticate(header)

    started = time.thread_time()
    for _ in range(1000):
        door.authenticate(header)

    assert (time.thread_time() - started) / 1000 < 50e-6


async def test_credentials_are_the_same_for_threads_and_the_loop(tmp_path: Path) -> None:
    door = issuing.authenticator(tmp_path)
    sent = [issuing.token(sub=f"s{number % 5}", iat=None) for number in range(40)]

    answers = await asyncio.gather(*(asyncio.to_thread(door.authenticate_credential, one) for one in sent))

    assert all(isinstance(answer, Caller) for answer in answers)
    assert [answer.subject for answer in answers if isinstance(answer, Caller)] == [f"s{n % 5}" for n in range(40)]
