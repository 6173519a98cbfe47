"""`crew-moe pin` and `crew-moe unpin`."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli


def _chosen(cli: Cli, state: str, *arguments: str) -> str:
    asked = cli("route", "--task-type", "analysis", "--text", "a", "--state", state, "--json", *arguments)
    return str(asked.json["expert_id"])


def test_pin_decides_until_it_is_removed(cli: Cli, state: str) -> None:
    before = _chosen(cli, state)

    cli("pin", "command-r", "--task-type", "analysis", "--state", state)
    pinned = _chosen(cli, state)
    removed = cli("unpin", "command-r", "--state", state)

    assert pinned == "command-r"
    assert removed.out == "1 pin removed.\n"
    assert _chosen(cli, state) == before != "command-r"


def test_pin_holds_in_its_scope_alone(cli: Cli, state: str) -> None:
    cli("pin", "command-r", "--tenant", "acme", "--state", state)

    assert _chosen(cli, state, "--tenant", "acme") == "command-r"
    assert _chosen(cli, state, "--tenant", "other") != "command-r"


def test_pin_says_where_and_how_long_it_holds(cli: Cli, state: str) -> None:
    done = cli("pin", "gpt-5", "--task", "audit", "--tenant", "acme", "--minutes", "30", "--state", state)

    assert done.out.startswith("Requests of task audit of tenant acme go to gpt-5 until 2")
    made = cli("pin", "gpt-5", "--reason", "trial", "--state", state, "--json").json
    assert (made["reason"], made["expires_at"]) == ("trial", None)


def test_unpin_all_removes_every_pin(cli: Cli, state: str) -> None:
    for expert in ("gpt-5", "gpt-4o"):
        cli("pin", expert, "--state", state)

    assert cli("unpin", "--all", "--state", state, "--json").json == {"removed": 2}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("pin", "claude-opus-44"), "did you mean 'claude-opus-4'?"),
        (("pin", "gpt-5"), "--state: a pin needs a state that outlives this command"),
        (("pin", "gpt-5", "--minutes", "0"), "--minutes: 0 is no duration"),
        (("pin", "gpt-5", "--minutes", "nan"), "--minutes: nan is no duration"),
        (("pin", "gpt-5", "--task-type", "analysys"), "did you mean 'analysis'?"),
        (("unpin",), "say which pins"),
        (("unpin", "gpt-55"), "did you mean 'gpt-5'?"),
    ],
)
def test_wrong_pin_is_refused(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    done = cli(*arguments)

    assert done.code == 2
    assert told in done.err
