"""Names: as written, as they look, and as they are shown."""

from __future__ import annotations

import pytest

from crew_moe.errors import InvalidInput
from crew_moe.gating.names import folded, plain_name, shown


@pytest.mark.parametrize("name", ["lead", "Team Lead", "Zoë", "管理者", "a-b_c.d:e/f@g"])
def test_name_of_any_language_is_kept_as_it_is(name: str) -> None:
    assert plain_name(name, where="role") == name


def test_id_that_yaml_reads_as_a_number_is_a_name() -> None:
    assert plain_name(123456789012345678, where="channel") == "123456789012345678"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\u200bb", "a\u202eb", "a\ud800", None, 1.5, True, "x" * 201])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidInput, match="role: "):
        plain_name(name, where="role")


@pytest.mark.parametrize(
    ("name", "form"), [("  Bob  B ", "bob b"), ("b\u200bob", "bob"), ("\uff42\u043eb", "bob"), ("\u2060", "")]
)
def test_names_that_look_the_same_fold_to_one(name: str, form: str) -> None:
    assert folded(name) == form


def test_long_and_broken_text_is_shown_in_one_short_line() -> None:
    line = shown("one\r\n two\u202e\t" + "x" * 1000, 20)

    assert line == "one two xxxxxxxxx..."
    assert len(line) == 20
