"""What a crew works on: placeholders get values, and whatever is wrong with a file is said at once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from crew_moe.cli.material import load_material
from crew_moe.errors import InvalidInput


def _task(folder: Path, description: str) -> None:
    text = f"only:\n  description: {description!r}\n  expected_output: Words\n  agent: writer\n"
    (folder / "tasks.yaml").write_text(text, encoding="utf-8")


def test_without_a_folder_it_is_the_demonstration() -> None:
    material = load_material(None, None)

    assert material.is_demo
    assert material.script is not None
    assert material.script.is_file()
    assert "Halden Pay" in material.inputs["document"]


def test_own_crew_has_no_script_of_failures(crew_dir: Path) -> None:
    assert load_material(crew_dir, None).script is None


def test_values_are_read_up_to_the_first_sign(crew_dir: Path) -> None:
    _task(crew_dir, "Write about {topic} in {style} and keep {this: json}")

    assert load_material(crew_dir, None, ["topic=AI", "style=a=b"]).inputs == {"topic": "AI", "style": "a=b"}


def test_nobody_is_asked_for_what_the_router_knows(crew_dir: Path) -> None:
    _task(crew_dir, "Write as {routing_expert}")

    assert load_material(crew_dir, None).inputs == {}


def test_missing_value_names_the_option(crew_dir: Path) -> None:
    _task(crew_dir, "Write about {topic}")

    with pytest.raises(InvalidInput, match="--input topic=VALUE"):
        load_material(crew_dir, None)


def test_value_without_a_placeholder_is_refused_with_the_closest(crew_dir: Path) -> None:
    _task(crew_dir, "Write about {topic}")

    with pytest.raises(InvalidInput, match="did you mean 'topic'"):
        load_material(crew_dir, None, ["topic=AI", "topics=AI"])


def test_document_that_the_crew_does_not_ask_for_is_refused(crew_dir: Path, tmp_path: Path) -> None:
    _task(crew_dir, "Write")
    (tmp_path / "some.txt").write_text("words", encoding="utf-8")

    with pytest.raises(InvalidInput, match=r"have no \{document\}"):
        load_material(crew_dir, str(tmp_path / "some.txt"))


@pytest.mark.parametrize("pair", ["topic", "=AI"])
def test_input_must_be_a_pair(crew_dir: Path, pair: str) -> None:
    with pytest.raises(InvalidInput, match="NAME=VALUE"):
        load_material(crew_dir, None, [pair])


@pytest.mark.parametrize(
    ("content", "told"),
    [(b" \n", "there is no text in it"), (b"\xff\xfe", "is not UTF-8 text"), (b"a" * 4_000_001, "too large")],
)
def test_document_must_be_text_of_a_bearable_size(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "document.txt"
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match=told):
        load_material(None, str(path))


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "stdin: there is no text"), (b"\xff", "stdin: is not"), (b"a" * 4_000_001, "too large")]
)
def test_stdin_is_held_to_the_same(monkeypatch: pytest.MonkeyPatch, content: bytes, told: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    with pytest.raises(InvalidInput, match=told):
        load_material(None, "-")


def test_document_comes_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("Größe".encode())))

    assert load_material(None, "-").inputs["document"] == "Größe"


def test_folder_that_does_not_exist_is_named(crew_dir: Path) -> None:
    with pytest.raises(InvalidInput, match="no such folder; did you mean 'crew'"):
        load_material(crew_dir.with_name("crw"), None)
