"""API keys: what is kept of them, who gets in with one, and how they end while a router runs."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.auth import keys as keys_module
from crew_moe.auth.caller import AccessScope, Caller, Unauthorized
from crew_moe.auth.keys import ApiKeys, new_key
from crew_moe.auth.keys_file import change_keys, read_keys
from crew_moe.clock import ManualClock
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.telemetry.events import Recorder
from tests.auth import issuing

HASH = "0" * 64
GOOD = f"{{id: abcd, hash: '{HASH}', subject: a, tenant: t, created_at: 2026-01-01T00:00:00Z}}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def _open(file: Path, clock: ManualClock | None = None, sink: Recorder | None = None) -> ApiKeys:
    return ApiKeys(file, clock=clock or issuing.clock_now(), sink=sink or Recorder())


def _told(answer: Caller | Unauthorized) -> tuple[str, str]:
    assert isinstance(answer, Unauthorized)
    return answer.code, answer.message


def test_who_has_the_key_is_let_in(file: Path) -> None:
    key = issuing.add_api_key(file, subject="ci", roles=["dev"], scopes=[AccessScope.READ, AccessScope.REPORT])

    caller = _open(file).verify(key)

    assert isinstance(caller, Caller)
    assert (caller.subject, caller.tenant, caller.principal.roles) == ("ci", "acme", frozenset({"dev"}))
    assert caller.scopes == frozenset({AccessScope.READ, AccessScope.REPORT})


def test_only_the_hash_of_the_secret_is_kept(file: Path) -> None:
    key = issuing.add_api_key(file)
    _, key_id, secret = key.split("_")
    (entry,) = read_keys(file)

    assert (entry.id, entry.hash) == (key_id, hashlib.sha256(secret.encode()).hexdigest())
    assert secret not in file.read_text(encoding="utf-8")
    assert len(bytes.fromhex(secret)) == 32


def test_every_key_is_another_one() -> None:
    made = {new_key(subject="a", tenant="t", scopes=[], now=issuing.clock_now().now())[0] for _ in range(100)}

    assert len(made) == 100


@pytest.mark.parametrize(
    "wrong",
    [
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: key + "0",
        lambda key: key[:-1],
        lambda key: key + " ",
        lambda key: key.upper(),
        lambda key: key.replace("cmk_", "cmk_0", 1),
        lambda key: key.rpartition("_")[0],
        lambda key: key.rpartition("_")[0] + "_",
        lambda key: "_".join(("cmk", key.split("_")[1], hashlib.sha256(key.split("_")[2].encode()).hexdigest())),
        lambda key: key + "0" * 10_000,
        lambda _: "cmk_",
        lambda _: "cmk__",
        lambda _: "cmk_\ud800_\ud800",
    ],
)
def test_a_wrong_key_is_not_known(file: Path, wrong: Callable[[str], str]) -> None:
    key = issuing.add_api_key(file)

    assert _told(_open(file).verify(wrong(key))) == ("invalid", "the API key is not known here")


@given(st.text(max_size=100))
def test_no_made_up_key_is_let_in(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "made-up.yaml"
    key = issuing.add_api_key(file) if not file.exists() else f"cmk_{read_keys(file)[0].id}_"

    assert isinstance(_open(file).verify(key[:17] + text), Unauthorized)


def test_secrets_are_compared_in_constant_time_also_where_there_is_no_key(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = issuing.add_api_key(file)
    compared = []

    class Watching:
        @staticmethod
        def compare_digest(given: str, kept: str) -> bool:
            compared.append((len(given), len(kept)))
            return hmac.compare_digest(given, kept)

    monkeypatch.setattr(keys_module, "hmac", Watching)
    verifier = _open(file)
    for sent in (key, key[:-1], "cmk_unknown_secret"):
        verifier.verify(sent)

    assert compared == [(64, 64)] * 3


def test_an_expired_key_says_so(file: Path) -> None:
    clock = issuing.clock_now()
    key = issuing.add_api_key(file, life=timedelta(days=1), now=clock.now())
    verifier = _open(file, clock)
    assert isinstance(verifier.verify(key), Caller)

    clock.advance(86_400)

    assert _told(verifier.verify(key))[0] == "expired"


def test_revocation_and_end_are_told_only_to_who_has_the_secret(file: Path) -> None:
    revoked, expired = issuing.add_api_key(file), issuing.add_api_key(file, life=timedelta(seconds=-1))
    issuing.revoke_api_key(file, revoked)
    verifier = _open(file)

    assert "revoked" in _told(verifier.verify(revoked))[1]
    assert "expired" in _told(verifier.verify(expired))[1]
    for key in (revoked, expired):
        assert "not known" in _told(verifier.verify(key[:-1]))[1]


def test_a_file_that_breaks_leaves_the_keys_in_force_and_tells_once(file: Path) -> None:
    key, sink = issuing.add_api_key(file), Recorder()
    verifier = _open(file, sink=sink)
    good = file.read_text(encoding="utf-8")

    file.write_text("keys: [{", encoding="utf-8")
    during = [type(verifier.verify(key)) for _ in range(3)]
    file.unlink()
    without = [type(verifier.verify(key)) for _ in range(3)]
    file.write_text(good.replace("subject: robot", "subject: changed"), encoding="utf-8")
    after = verifier.verify(key)

    assert {*during, *without} == {Caller}
    assert isinstance(after, Caller)
    assert after.subject == "changed"
    assert [name for name, _ in sink.events] == [*["credentials_unreadable"] * 2, "credentials_read"]
    assert str(file) in sink.events[0][1]["error"]


def test_a_key_that_is_taken_out_of_the_file_ends(file: Path) -> None:
    key = issuing.add_api_key(file)
    verifier = _open(file)

    change_keys(file, lambda _: [])

    assert isinstance(verifier.verify(key), Unauthorized)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kyes: []", "unknown field 'kyes'; did you mean 'keys'?"),
        ("keys: {}", "keys: must be a list"),
        (f"keys: [{GOOD}, {GOOD}]", "the id 'abcd' stands twice"),
        (f"keys: [{GOOD.replace('tenant: t', 'operator: true')}]", "needs the scope router:admin"),
        (f"keys: [{GOOD.replace('tenant: t, ', '')}]", "keys.0: a key belongs to a tenant, or is an operator's"),
        (f"keys: [{GOOD.replace('tenant: t', 'tenant: t, operator: true')}]", "belongs to a tenant, or is an operator"),
        (f"keys: [{GOOD.replace('subject', 'sbject')}]", "keys.0: unknown field 'sbject'; did you mean 'subject'?"),
        (f"keys: [{GOOD.replace('}', ', scopes: [router:reed]}')}]", "did you mean 'router:read'?"),
        (f"keys: [{GOOD.replace('00Z', '00')}]", "keys.0.created_at"),
        (f"keys: [{GOOD.replace(HASH, 'a-secret')}]", "keys.0.hash: is not written as it should be (given a string)"),
        (f"keys: [{GOOD.replace('abcd', 'AB_CD')}]", "keys.0.id: is not written as it should be"),
        ("keys: [", "line 1"),
    ],
)
def test_a_wrong_file_is_one_clear_error(file: Path, text: str, told: str) -> None:
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        _open(file)

    assert str(caught.value).startswith(str(file))
    assert told in str(caught.value)
    assert "a-secret" not in str(caught.value)


def test_a_missing_file_is_an_error_at_the_start(file: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        _open(file)


def test_what_no_entry_may_hold_makes_no_key() -> None:
    for subject, tenant in (("", "t"), ("a", " "), ("a" * 201, "t")):
        with pytest.raises(InvalidInput, match=r"^(subject|tenant): "):
            new_key(subject=subject, tenant=tenant, scopes=[], now=issuing.clock_now().now())


def test_changes_beside_each_other_are_all_kept(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: issuing.add_api_key(file), range(24)))

    verifier = _open(file)
    assert all(isinstance(verifier.verify(key), Caller) for key in made)


def test_the_file_is_private_and_replaced_whole(file: Path) -> None:
    issuing.add_api_key(file)
    file.chmod(0o644)
    before = file.stat().st_ino
    issuing.add_api_key(file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_ino != before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_change_that_fails_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuing.add_api_key(file)
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ConfigError, match=r"can't be written \(No space left on device\)"):
        issuing.add_api_key(file)

    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_link_goes_on_naming_the_file(file: Path, tmp_path: Path) -> None:
    issuing.add_api_key(file)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)

    key = issuing.add_api_key(link)

    assert link.is_symlink()
    assert isinstance(_open(file).verify(key), Caller)
