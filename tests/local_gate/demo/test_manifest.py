"""crew_moe.json: read back as written, refused when broken, and the task found that a text asks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.errors import ConfigError
from crew_moe.local_gate.demo.manifest import NAME, DemoManifest, DemoTask, Trained, read_manifest, write_manifest

TASKS = {
    "rot13": DemoTask(prefix="rot13: ", max_words=4, patterns=(r"\brot-?13\b",)),
    "html": DemoTask(prefix="html: ", max_words=4, patterns=(r"markdown\b.*\bhtml\b",)),
}
MANIFEST = DemoManifest(
    kind="byt5",
    tasks=TASKS,
    accuracy={"rot13": {"1": 1.0, "4": 0.98}},
    trained=Trained(steps=10, seconds=1.5, seed=7, versions={"torch": "2"}),
)


def test_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)

    assert read_manifest(tmp_path) == MANIFEST


def test_model_from_elsewhere_has_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "byte5"}, "did you mean 'byt5'?"),
        ({"lable": "x"}, "unknown field 'lable'"),
        ({"tasks": {"a": {"prefix": "a", "max_words": 0}}}, "tasks.a.max_words"),
        ({"tasks": {"a": {"prefix": "a", "patterns": ["("]}}}, "'(' is no regular expression"),
    ],
)
def test_broken_manifest_is_one_clear_error(tmp_path: Path, change: dict[str, object], told: str) -> None:
    (tmp_path / NAME).write_text(json.dumps(MANIFEST.model_dump(mode="json") | change), encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        read_manifest(tmp_path)

    assert str(tmp_path / NAME) in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b" " * 1_000_001])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)

    with pytest.raises(ConfigError):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('Create a ROT13 encryption of this text: "Hello World"', ("rot13", "Hello World")),
        ("rot13: Hello", ("rot13", "Hello")),
        ("rot13:   Hello", ("rot13", "  Hello")),
        ("What is 'a: b' in rot-13?", ("rot13", "a: b")),
        ("What is “Hello” in ROT13?", ("rot13", "Hello")),
        ("Convert this markdown to HTML: # Header\n- Item 1", ("html", "# Header\n- Item 1")),
        (r"Convert this markdown to HTML: # Header\n- Item 1\n- Item 2", ("html", "# Header\n- Item 1\n- Item 2")),
        (r'ROT13 of: "C:\new"', ("rot13", r"C:\new")),
        ('ROT13 of: "a" and "b"', ("rot13", '"a" and "b"')),
        ("What's the ROT13 of this:\n\nHello", ("rot13", "Hello")),
        ("Use ROT13:", ("rot13", "")),
        ("Hello World", None),
        ("Tell me of ROT13", None),
        ("Translate this: rot13 is a cipher", None),
        ("x" * 300 + " rot13: a", None),
        ('rot13 of "a', None),
        ("", None),
    ],
)
def test_task_is_found_in_the_instruction(text: str, found: tuple[str, str] | None) -> None:
    assert MANIFEST.task_of(text) == found


@given(st.text().filter(lambda text: "\\n" not in text))
def test_any_quoted_text_is_what_the_task_is_done_on(text: str) -> None:
    assert MANIFEST.task_of(f"rot13: {text}") == ("rot13", text)
    if '"' not in text:
        assert MANIFEST.task_of(f'Please apply ROT13 to this text: "{text}"') == ("rot13", text)
        assert MANIFEST.task_of(f'Please apply ROT13 to "{text}", thanks') == ("rot13", text)


@given(st.text(alphabet=st.sampled_from("ab \n\t\u2003"), max_size=60), st.integers(1, 4))
def test_pieces_are_the_text_and_none_is_too_long(text: str, most: int) -> None:
    pieces = DemoTask(prefix="", max_words=most).pieces(text)

    assert "".join("".join(piece) for piece in pieces) == text
    assert all(len(piece.text.split()) <= most for piece in pieces)
    assert not any("\n" in piece.text for piece in pieces)
    assert all(piece.text == piece.text.strip() for piece in pieces)


def test_pieces_are_as_few_as_can_be() -> None:
    assert [piece.text for piece in TASKS["rot13"].pieces(" a b c d e\nf g ")] == ["a b c d", "e", "f g"]
    assert [piece.text for piece in DemoTask(prefix="").pieces("a\nb")] == ["a\nb"]
