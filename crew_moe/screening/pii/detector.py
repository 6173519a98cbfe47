"""Personal data in a text: every rule of the tables, names and addresses, and one answer where they overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crew_moe.domain.screening import Concern, Finding, Span
from crew_moe.screening.pii.addresses import find_addresses
from crew_moe.screening.pii.contact import EMAILS, HOSTS, PHONES
from crew_moe.screening.pii.labelled import LABELLED
from crew_moe.screening.pii.names import find_names
from crew_moe.screening.pii.numbers import CARDS, IBANS, IDENTITIES, SOCIAL
from crew_moe.screening.pii.overlap import without_overlaps
from crew_moe.screening.pii.plain import Plain
from crew_moe.screening.pii.rule import Rule
from crew_moe.screening.pii.secrets import SECRETS

RULES: Final[tuple[Rule, ...]] = (
    *EMAILS, *IBANS, *CARDS, *SOCIAL, *SECRETS, *HOSTS, *IDENTITIES, *LABELLED, *PHONES,
)  # fmt: skip
VERSION: Final = "pii-rules-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PiiDetector:
    """Finds e-mail addresses, telephone, card, account and identity numbers, secrets, names and postal addresses.

    Spans lie in the text as it was given, also where the match was made on its plain form, and do not overlap.
    Without a model and without the network; time grows with the length of the text.

    >>> [(span.type, span.start, span.end) for span in PiiDetector().assess("Call 212-555-0187, ask for Ann Lee").spans]
    [('PHONE', 5, 17), ('PERSON', 27, 34)]
    """

    rules: tuple[Rule, ...] = RULES

    @property
    def concern(self) -> Concern:
        return Concern.PII

    @property
    def version(self) -> str:
        return VERSION

    def assess(self, text: str) -> Finding:
        plain = Plain.of(text)
        spans = tuple(_in_original(plain, span) for span in without_overlaps(self._found(plain.text)))
        score = max((span.score for span in spans), default=0.0)
        return Finding(concern=self.concern, score=score, version=self.version, spans=spans)

    def _found(self, text: str) -> Iterator[Span]:
        lower = text.replace("İ", "I").lower()  # the one letter that grows when it becomes small
        for rule in self.rules:
            yield from rule.find(text, lower)
        yield from find_addresses(text)
        yield from find_names(text)


def _in_original(plain: Plain, span: Span) -> Span:
    start, end = plain.original(span.start, span.end)
    return (
        span if (start, end) == (span.start, span.end) else Span(start=start, end=end, type=span.type, score=span.score)
    )
