"""The language of a text: scripts first, lingua for the letters that many languages share."""

from __future__ import annotations

import importlib.util

import pytest

from crew_moe.errors import MissingExtra
from crew_moe.screening import language
from crew_moe.screening.language import LinguaDetector, ScriptDetector, language_detector

SCRIPTS = {
    "これは何ですか": "ja",
    "你好世界": "zh",
    "안녕하세요": "ko",
    "สวัสดี": "th",
    "שלום עולם": "he",
    "Γ\u03b5\u03b9ά \u03c3\u03bf\u03c5": "el",
    "Привет, мыши": "ru",
    "Привіт, як справи": "uk",
    "مرحبا بالعالم": "ar",
    "سلام چطوری": "fa",
    "नमस्ते": "hi",
}


@pytest.mark.parametrize(("text", "code"), SCRIPTS.items())
def test_a_script_tells_its_language(text: str, code: str) -> None:
    found = ScriptDetector().detect(text)

    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    "text", ["", "12345", "What is this?", "🦜🦜", "a\u200bb", "Translate 你好 into English for me"]
)
def test_a_text_without_a_script_of_its_own_has_no_language(text: str) -> None:
    assert ScriptDetector().detect(text) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Please write a short poem about the sea", "en"),
        ("Guten Tag, wie geht es Ihnen heute?", "de"),
        ("Bonjour, pouvez-vous m'aider s'il vous plaît ?", "fr"),
        ("Przetłumacz to zdanie na angielski", "pl"),
        ("これは何ですか", "ja"),
        ("https://example.org/une/adresse/en/francais is the page that I mean", "en"),
    ],
)
def test_lingua_tells_latin_languages_apart(text: str, code: str) -> None:
    found = LinguaDetector().detect(text)

    assert found is not None
    assert (found.code, found.confidence > 0.5) == (code, True)


@pytest.mark.parametrize("text", ["fix bug", "cześć", "Guten Tag", "", "```\nprint('hello world, how are you')\n```"])
def test_too_little_prose_has_no_language(text: str) -> None:
    assert LinguaDetector().detect(text) is None


def test_a_long_text_is_told_by_its_beginning() -> None:
    found = LinguaDetector().detect("Please write a poem about the sea. " * 100_000 + "Schöne Grüße an alle. " * 9)

    assert found is not None
    assert found.code == "en"


def test_without_the_extra_scripts_are_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "find_spec", lambda _: None)

    assert isinstance(language_detector(), ScriptDetector)
    with pytest.raises(MissingExtra, match=r"crew-moe\[lang\]"):
        LinguaDetector()


def test_with_the_extra_it_is_used() -> None:
    assert importlib.util.find_spec("lingua") is not None
    assert isinstance(language_detector(), LinguaDetector)
