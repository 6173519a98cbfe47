"""`crew-moe keys`: a key is shown once, works at once, and ends when it is revoked."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import AccessScope, Caller, Unauthorized
from crew_moe.settings import Settings
from tests.cli.conftest import Cli


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where keys are to be kept; nothing is there yet."""
    return tmp_path / "conf" / "keys.yaml"


def _who(file: Path, key: str) -> Caller | Unauthorized:
    return Authenticator.from_settings(Settings(api_keys=file)).authenticate_credential(key)


def test_a_new_key_stands_alone_on_stdout_and_is_accepted(cli: Cli, file: Path) -> None:
    done = cli("keys", "new", "--subject", "ci", "--tenant", "acme", "--file", file)

    key = done.out.removesuffix("\n")
    assert (done.code, key.count("\n"), key[:4]) == (0, 0, "cmk_")
    caller = _who(file, key)
    assert isinstance(caller, Caller)
    assert (caller.subject, caller.tenant, list(caller.scopes)) == ("ci", "acme", [AccessScope.READ])
    assert "only time" in done.err


def test_the_secret_is_kept_nowhere_and_the_file_is_private(cli: Cli, file: Path) -> None:
    key = cli("keys", "new", "--subject", "ci", "--tenant", "acme", "--file", file).out.strip()
    shown = cli("keys", "list", "--file", file)
    listed = cli("keys", "list", "--file", file, "--json")
    secret = key.split("_")[2]

    for text in (file.read_text(encoding="utf-8"), shown.out, listed.out, shown.err):
        assert secret not in text
    assert "hash" not in listed.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys.yaml"]


def test_scopes_roles_and_the_end_are_kept(cli: Cli, file: Path) -> None:
    asked = ("--scope", "router:read", "--scope", "router:report", "--role", "dev", "--expires-days", "1.5")
    made = cli("keys", "new", "--subject", "ci", "--tenant", "acme", "--file", file, *asked, "--json").json

    caller = _who(file, made["key"])
    assert isinstance(caller, Caller)
    assert set(caller.scopes) == {AccessScope.READ, AccessScope.REPORT}
    assert caller.principal.roles == {"dev"}
    assert made["expires_at"] > made["created_at"]
    row = {name: value for name, value in made.items() if name != "key"}
    assert cli("keys", "list", "--file", file, "--json").json == [row]


def test_an_operators_key_belongs_to_no_tenant(cli: Cli, file: Path) -> None:
    key = cli("keys", "new", "--subject", "ops", "--operator", "--scope", "router:admin", "--file", file).out.strip()

    caller = _who(file, key)
    assert isinstance(caller, Caller)
    assert caller.tenant is None
    assert "all (operator)" in cli("keys", "list", "--file", file).out


def test_a_revoked_key_is_refused_by_a_router_that_runs(cli: Cli, file: Path) -> None:
    keys = [cli("keys", "new", "--subject", name, "--tenant", "acme", "--file", file).out.strip() for name in "ab"]
    door = Authenticator.from_settings(Settings(api_keys=file))
    assert all(isinstance(door.authenticate_credential(key), Caller) for key in keys)

    done = cli("keys", "revoke", keys[0].split("_")[1], "--file", file)

    assert done.out == f"The key {keys[0].split('_')[1]} is revoked.\n"
    answers = [door.authenticate_credential(key) for key in keys]
    assert [type(answer) for answer in answers] == [Unauthorized, Caller]
    assert [row["state"] for row in cli("keys", "list", "--file", file, "--json").json] == ["revoked", "in force"]


def test_revoking_takes_a_whole_key_for_its_id(cli: Cli, file: Path) -> None:
    key = cli("keys", "new", "--subject", "a", "--tenant", "acme", "--file", file).out.strip()

    assert cli("keys", "revoke", key, "--file", file, "--json").json == {"id": key.split("_")[1], "state": "revoked"}
    assert cli("keys", "revoke", key, "--file", file).code == 0


def test_the_file_may_be_named_in_the_environment(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_API_KEYS", str(file))

    assert cli("keys", "new", "--subject", "a", "--tenant", "acme").code == 0
    assert len(cli("keys", "list", "--json").json) == 1


def test_an_empty_list_says_so(cli: Cli, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("keys: []\n", encoding="utf-8")

    assert cli("keys", "list", "--file", file).out == "There are no keys yet.\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("new", "--subject", "a"), "whose key is it?; allowed: --tenant NAME, --operator"),
        (("new", "--subject", "a", "--tenant", "b", "--operator"), "whose key is it?"),
        (("new", "--tenant", "b"), "--subject"),
        (("new", "--subject", "a", "--operator"), "an operator's key needs the scope router:admin"),
        (("new", "--subject", "a", "--tenant", "b", "--scope", "router:reed"), "did you mean 'router:read'?"),
        (("new", "--subject", "a", "--tenant", "b", "--expires-days", "0"), "--expires-days: 0 is no life"),
        (("new", "--subject", "a", "--tenant", "b", "--expires-days", "nan"), "--expires-days: nan is no life"),
        (("new", "--subject", " ", "--tenant", "b"), "subject: is not written as it should be"),
        (("list",), "no such file"),
        (("revoke", "abcd"), "no such file"),
    ],
)
def test_a_wrong_command_is_one_clear_error(cli: Cli, file: Path, arguments: tuple[str, ...], told: str) -> None:
    done = cli("keys", *arguments, "--file", file)

    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert not file.exists()


def test_without_a_file_it_asks_for_one(cli: Cli) -> None:
    done = cli("keys", "list")

    assert done.code == 2
    assert "which file of keys?; allowed: --file keys.yaml, CREW_MOE_API_KEYS" in done.err


def test_an_unknown_id_is_named_with_the_nearest(cli: Cli, file: Path) -> None:
    key_id = cli("keys", "new", "--subject", "a", "--tenant", "b", "--file", file, "--json").json["id"]

    done = cli("keys", "revoke", f"{key_id}0", "--file", file)

    assert done.code == 2
    assert f"did you mean '{key_id}'?" in done.err


def test_a_broken_file_is_not_overwritten(cli: Cli, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("keys: [{id: abcd}]\n", encoding="utf-8")

    done = cli("keys", "new", "--subject", "a", "--tenant", "b", "--file", file)

    assert done.code == 2
    assert "keys.yaml: keys.0: field" in done.err
    assert file.read_text(encoding="utf-8") == "keys: [{id: abcd}]\n"
