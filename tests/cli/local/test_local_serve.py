"""`crew-moe local serve`: what it is told, and what it does not begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import typer.main

from crew_moe.cli.app import app
from crew_moe.settings import Settings
from tests.catalog.writing import folder
from tests.cli.conftest import Cli
from tests.cli.test_serve import forget_what_is_handed_down
from tests.service.program import serving

GROUP: Any = typer.main.get_command(app).commands["local"]  # type: ignore[attr-defined]
OPTIONS: Final = {option for parameter in GROUP.commands["serve"].params for option in parameter.opts}
OF_A_RUN: Final = {"--config", "--state", "--models", "--help", "--ray", "--ray-address", "--replicas"}
"""They have twins of another name, or say what this one start is to be."""


def test_it_says_where_it_answers_and_stops_quietly(tmp_path: Path) -> None:
    with serving(tmp_path, "--warm", "extractive", command=("local", "serve")) as program:
        code = program.end()

        told = f"Serving at {program.url}, 3 hosted experts\n"
        assert (code, program.said, program.printed) == (0, told, "")


@pytest.mark.parametrize("flag", sorted(OPTIONS - OF_A_RUN))
def test_flag_has_a_twin(flag: str) -> None:
    name = f"local_{flag.removeprefix('--').replace('-', '_')}"

    assert {name, f"{name}s"} & set(Settings.model_fields)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--host", "0.0.0.0"), "--host: 0.0.0.0 can be reached from other machines"),  # noqa: S104 - refused
        (("--rate", "often"), "--rate: is no rate; allowed: COUNT/second"),
        (("--warm", "byt6"), "--warm: no hosted expert is called 'byt6'; did you mean 'byt5'?"),
        (("--config", "nowhere"), "nowhere: no such folder"),
        (("--timeout-s", "0"), "Invalid value for '--timeout-s'"),
    ],
)
def test_what_can_not_be_served_is_one_line(
    cli: Cli, flags: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forget_what_is_handed_down(monkeypatch)

    done = cli("local", "serve", "--port", "0", *flags)

    assert done.code == 2
    assert done.err.startswith(f"error: {told}")
    assert (done.err.count("\n"), done.out) == (1, "")


def test_a_fallback_that_the_catalogue_lacks_is_an_error(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_what_is_handed_down(monkeypatch)
    config = folder(tmp_path, local={"fallback": "gpt-4o-mni"})

    done = cli("local", "serve", "--port", "0", "--config", config)

    assert done.code == 2
    assert "local.yaml: fallback: unknown expert 'gpt-4o-mni'; did you mean 'gpt-4o-mini'?" in done.err
