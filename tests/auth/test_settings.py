"""How authentication is set up by the environment, and what is told when it is set up by halves."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from crew_moe.auth.authenticator import Authenticator
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.settings import Settings, read_settings
from tests.auth import issuing

NAMES = ("CREW_MOE_JWT_KEYS", "CREW_MOE_JWT_ISSUER", "CREW_MOE_JWT_AUDIENCE")


@pytest.mark.parametrize("given", [some for some in product([True, False], repeat=3) if any(some) and not all(some)])
def test_half_of_a_set_up_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, given: tuple[bool, ...]) -> None:
    for name, wanted in zip(NAMES, given, strict=True):
        if wanted:
            monkeypatch.setenv(name, "very-secret")

    with pytest.raises(InvalidInput) as caught:
        read_settings()

    absent = [name for name, wanted in zip(NAMES, given, strict=True) if not wanted]
    assert str(caught.value).endswith(f"not set: {', '.join(absent)}")
    assert "very-secret" not in str(caught.value)


def test_the_environment_sets_all_of_it_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = issuing.add_api_key(tmp_path / "keys.yaml")
    given = (issuing.write_public_key(tmp_path), issuing.ISSUER, issuing.AUDIENCE)
    for name, value in zip(NAMES, given, strict=True):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("CREW_MOE_API_KEYS", str(tmp_path / "keys.yaml"))

    door = Authenticator.from_settings(read_settings())

    assert door.authenticate_credential(issuing.token()) != door.authenticate_credential(key)
    assert [door.authenticate_credential(one).subject for one in (issuing.token(), key)] == ["client-7", "robot"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("keys", "told"),
    [("missing.pem", "missing.pem: no such file"), ("http://10.0.0.1/jwks", "CREW_MOE_JWT_KEYS: is no URL")],
)
def test_keys_that_can_not_be_used_are_an_error_at_the_start(tmp_path: Path, keys: str, told: str) -> None:
    place = keys if "://" in keys else str(tmp_path / keys)

    with pytest.raises(InvalidInput) as caught:
        Authenticator.from_settings(issuing.settings(tmp_path, jwt_keys=place))

    assert told in str(caught.value)


def test_an_empty_file_of_keys_is_set_up_and_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").touch()

    assert Authenticator.from_settings(Settings(api_keys=tmp_path / "keys.yaml")).enabled


def test_a_broken_file_of_keys_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text("keys: 7", encoding="utf-8")

    with pytest.raises(ConfigError, match="keys: must be a list"):
        Authenticator.from_settings(Settings(api_keys=tmp_path / "keys.yaml"))
