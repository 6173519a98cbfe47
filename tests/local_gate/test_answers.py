from __future__ import annotations

import pytest

from crew_moe.local_gate.extractive.answers import NO_TEXT, answer, kind_of
from crew_moe.local_gate.extractive.ranking import rank


@pytest.mark.parametrize(
    ("request_text", "kind"),
    [
        ("Triage the incident report", "triage"),
        ("Write a brief of the audit findings", "brief"),
        ("Audit the text and write down what you find", "audit"),
        ("Analyse the root cause", "analysis"),
        ("Summarise this", "summary"),
        ("Give me keywords", "keywords"),
    ],
)
def test_kind_follows_the_first_cue(request_text: str, kind: str) -> None:
    found = kind_of(request_text)

    assert found is not None
    assert found.name == kind


def test_expected_output_decides_when_the_request_has_no_cue(report: str) -> None:
    assert answer("Do it", "a bullet list", rank(report)).startswith("# Outage of the checkout\n\n## High severity")


def test_triage_lists_what_failed_first(report: str) -> None:
    text = answer("Triage it", "", rank(report))

    assert text.index("The checkout failed") < text.index("## Other") < text.index("Release 4.1 is deployed")


def test_audit_cites_its_sentences(report: str) -> None:
    text = answer("Audit it for security", "", rank(report))

    assert "## Secrets and access" in text
    assert "- The database password stood in plain text in the log. (Security findings, sentence 5)" in text


def test_analysis_finds_the_cause(report: str) -> None:
    causes = answer("Analyse it", "", rank(report)).partition("## Effects")[0]

    assert "## Causes\n\n- The checkout failed for 42 minutes because a release removed" in causes


def test_brief_has_title_summary_and_points(document: str) -> None:
    text = answer("Write a brief", "", rank(document))

    assert text.startswith("# Incident report: failed settlements at Halden Pay\n\n## Summary\n\n")
    assert "## Key points\n\n- " in text
    assert "Keywords: " in text


def test_question_is_answered_by_the_sentence_that_knows(document: str) -> None:
    text = answer("How many merchants were paid late by more than one banking day?", "", rank(document))

    assert "1,870 merchants were paid late, 44 of them" in text


def test_every_sentence_of_an_answer_stands_in_the_text(document: str) -> None:
    bullets = [line[2:] for line in answer("Triage it", "", rank(document)).splitlines() if line.startswith("- ")]

    assert bullets
    assert all(bullet[:60].split(". ")[0] in " ".join(document.split()) for bullet in bullets)


def test_no_sentence_stands_twice(document: str) -> None:
    bullets = [line for line in answer("Analyse it", "", rank(document)).splitlines() if line.startswith("- ")]

    assert len(bullets) == len(set(bullets))


def test_no_text_is_said_plainly() -> None:
    assert answer("Summarise", "", rank("")) == NO_TEXT
