"""Reading YAML that somebody else wrote: strict, bounded, with the place of every mistake."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from crew_moe import documents
from crew_moe.documents import read_mapping, read_text
from crew_moe.errors import ConfigError


def write(path: Path, content: str | bytes) -> Path:
    file = path / "file.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def bomb(levels: int) -> str:
    """Nine times nine times nine ... values in a few hundred bytes."""
    names = [f"a{number}" for number in range(levels)]
    lines = [f"{names[0]}: &{names[0]} [x, x, x, x, x, x, x, x, x]"]
    for below, name in pairwise(names):
        lines.append(f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: key 'a' stands twice"),
        ("x: {b: 1, b: 2}", "key 'b' stands twice"),
        ("a: [1", "line 1"),
        ("a: b: c", "line 1"),
        (bomb(9), "unfolds to more than 200,000 values"),
        ("a: &a [*a]", "an alias stands inside what it names"),
        ("a: &a {b: {c: *a}}", "an alias stands inside what it names"),
        ("[" * 60 + "]" * 60, "nested deeper than 40 levels"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("- 1\n- 2\n", "the top of the file must be a mapping"),
        ("1: a\n", "the top of the file must be a mapping"),
        ("just words", "the top of the file must be a mapping"),
        ("a: 2026-99-99", "is no YAML"),
        (b"\x00\x01\x02", "is no YAML"),
        (b"\xff\xfe\xfa\x80", "is not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is not UTF-8 text"),
    ],
)
def test_a_wrong_document_is_one_clear_error(tmp_path: Path, content: Any, says: str) -> None:
    file = write(tmp_path, content)

    with pytest.raises(ConfigError) as caught:
        read_mapping(file)

    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_merged_keys_may_be_overridden(tmp_path: Path) -> None:
    file = write(tmp_path, "base: &base {a: 1, b: 2}\nown:\n  <<: *base\n  a: 3\n")

    assert read_mapping(file)["own"] == {"a": 3, "b": 2}


def test_many_aliases_of_small_things_are_no_bomb(tmp_path: Path) -> None:
    file = write(tmp_path, "a: &a 1\nall: [" + ", ".join(["*a"] * 500) + "]")

    assert read_mapping(file)["all"] == [1] * 500


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    assert read_mapping(write(tmp_path, "")) == {}


def test_a_missing_file_names_its_nearest_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "")

    with pytest.raises(ConfigError, match=r"no such file; did you mean 'file.yaml'"):
        read_text(tmp_path / "fill.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        read_text(tmp_path / "nowhere" / "file.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder, not a file"):
        read_text(tmp_path)


def test_a_file_that_can_not_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_text(write(tmp_path, "") / "below")


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_BYTES", 10)

    with pytest.raises(ConfigError, match="is too large; allowed: up to 10 bytes"):
        read_text(write(tmp_path, "x" * 11))


def test_a_device_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="is too large"):
        read_text(Path("/dev/zero"))


def test_byte_order_mark_of_an_editor_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_bytes(b"\xef\xbb\xbf{}\r\n")

    assert read_text(path) == "{}\n"
