"""Presidio behind the seam of every detector: the real engine on a blank pipeline, without the network."""

from __future__ import annotations

import subprocess
import sys

import pytest

from crew_moe.domain.screening import Concern
from crew_moe.errors import InvalidInput, MissingExtra
from crew_moe.screening import presidio
from crew_moe.screening.presidio import PresidioDetector

pytest.importorskip("presidio_analyzer", reason="presidio-analyzer is not installed")


@pytest.fixture(scope="module")
def detector() -> PresidioDetector:
    return PresidioDetector()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("My card is 4111 1111 1111 1111, thanks", "CREDIT_CARD", "4111 1111 1111 1111"),
        ("mail ann@example.org today", "EMAIL", "ann@example.org"),
        ("my SSN is 514-69-0360", "SSN", "514-69-0360"),
        ("IBAN GB26YVOK09234647792923", "IBAN", "GB26YVOK09234647792923"),
        ("the server 203.0.113.42 is down", "IP", "203.0.113.42"),
    ],
)
def test_its_patterns_come_under_our_names(detector: PresidioDetector, text: str, kind: str, value: str) -> None:
    found = detector.assess(text)

    assert [(span.type, text[span.start : span.end]) for span in found.spans] == [(kind, value)]
    assert found.flagged


def test_a_text_without_personal_data_has_no_finding(detector: PresidioDetector) -> None:
    found = detector.assess("On 12 May 2020 we visited https://example.org and Paris")

    assert (found.spans, found.score, found.concern) == ((), 0.0, Concern.PII)


def test_its_version_names_the_package_and_the_pipeline(detector: PresidioDetector) -> None:
    assert detector.version.startswith("presidio-")
    assert detector.version.endswith("/blank")


def test_what_lies_across_two_windows_is_found_once(detector: PresidioDetector) -> None:
    text = "x " * 1_900 + "mail ann@example.org " + "y " * 3_000

    (span,) = detector.assess(text).spans

    assert text[span.start : span.end] == "ann@example.org"


def test_a_model_that_is_not_installed_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'en_core_web_xs' is not installed; did you mean 'en_core_web_"):
        PresidioDetector(model="en_core_web_xs")


def test_no_address_is_looked_up_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presidio's own recogniser of e-mail fetches a list of domains when it checks an address."""

    def fetch(*_: object) -> bool:
        raise AssertionError("it would have gone to the network")

    monkeypatch.setattr("presidio_analyzer.predefined_recognizers.EmailRecognizer.validate_result", fetch)

    assert PresidioDetector().assess("mail ann@example.org").flagged


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presidio, "find_spec", lambda _: None)

    with pytest.raises(MissingExtra, match=r"crew-moe\[pii\]"):
        PresidioDetector()


def test_nothing_of_it_loads_before_the_first_text() -> None:
    code = (
        "import sys; from crew_moe.screening.presidio import PresidioDetector as P; P(); print('spacy' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
