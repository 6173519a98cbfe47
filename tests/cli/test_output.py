"""Tables keep what matters at any width, and nothing that is shown steers a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from crew_moe.cli.output import harmless, milliseconds, share, show_table, usd, write_json

ROWS = [("gemini-2.0-flash-thinking", "google", "baseline", "$0.000257", "not set because nobody did")]
COLUMNS = ("!Expert", "?!Provider", "!Tier", ">Cost", "Why")


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    def at(width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        show_table(COLUMNS, ROWS)
        return capsys.readouterr().out

    return at


@pytest.mark.parametrize("width", [80, 100, 140])
def test_table_keeps_ids_and_amounts_whole(shown: Callable[[int], str], width: int) -> None:
    text = shown(width)

    assert "gemini-2.0-flash-thinking" in text
    assert "$0.000257" in text
    assert max(map(len, text.splitlines())) <= width


def test_optional_column_goes_first_where_it_is_narrow(shown: Callable[[int], str]) -> None:
    assert "google" in shown(100)
    assert "google" not in shown(60)
    assert "$0.000257" in shown(60)


def test_absent_value_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("Name", ">Rate"), [("a", None)])

    assert capsys.readouterr().out.splitlines()[-1].split() == ["a", "-"]


def test_markup_in_data_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("Name",), [("[bold]a[/bold] :smile:",)])

    assert "[bold]a[/bold] :smile:" in capsys.readouterr().out


def test_harmless_takes_escape_sequences_out() -> None:
    assert harmless("a\x1b[31mb\x07\x9bc\td\n") == "a[31mbc\td\n"


def test_json_is_plain_and_refuses_what_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"a": "ü\x1b"})

    assert json.loads(capsys.readouterr().out) == {"a": "ü\x1b"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(float("nan"))


def test_units_are_readable() -> None:
    assert usd("0.0000005") == "$0.000000"
    assert usd("1234.5") == "$1,234.500000"
    assert (milliseconds(1234.4), milliseconds(12_345)) == ("1,234 ms", "12.3 s")
    assert (share(0.256), share(None)) == ("26 %", None)


def test_width_that_nobody_knows_shows_the_table_all_the_same(shown: Callable[[int], str]) -> None:
    assert shown(0) == shown(80)
