"""One check for all surfaces: which header counts, and which verifier is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import LOCAL, AccessScope, Caller, Unauthorized
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
