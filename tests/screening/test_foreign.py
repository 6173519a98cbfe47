"""Foreign languages: what nobody expects is told, what is too short to tell is not."""

from __future__ import annotations

import pytest

from crew_moe.domain.screening import Concern
from crew_moe.screening.foreign import ForeignLanguage

GERMAN = "Bitte schreiben Sie mir eine Zusammenfassung dieses Berichtes, und zwar in ganzen Sätzen und ohne Fachwörter."
RUSSIAN = "Пожалуйста, напишите краткое изложение этого отчёта полными предложениями и без специальных терминов."


@pytest.mark.parametrize(
    ("text", "expected", "flagged"),
    [
        (RUSSIAN, {"en"}, True),
        (GERMAN, {"en"}, True),
        (GERMAN, {"en", "de"}, False),
        ("Please write a summary of this report in whole sentences and without technical terms.", {"en"}, False),
        ("ok", {"de"}, False),
        ("", {"de"}, False),
    ],
)
def test_a_language_that_nobody_expects_is_flagged(text: str, expected: set[str], flagged: bool) -> None:
    finding = ForeignLanguage(expected).assess(text)

    assert (finding.concern, finding.flagged) == (Concern.LANGUAGE, flagged)


def test_version_names_the_detector_and_what_it_expects() -> None:
    assert ForeignLanguage({"en", "de"}).version.endswith("/de+en")
