"""What screening found in a text: scores, spans, and the version of whatever said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crew_moe.domain.word import Word

THRESHOLD: Final = 0.5
"""Every detector scales its score so that it flags a text from here on."""


class Concern(Word):
    """What a detector looks for."""

    PII = "pii"
    INJECTION = "injection"
    TOXICITY = "toxicity"
    LANGUAGE = "language"


class PiiType(Word):
    """Kinds of personal data. The first eight have a form of their own; names and addresses have none."""

    EMAIL = "EMAIL"
    PHONE = "PHONE"
    CREDIT_CARD = "CREDIT_CARD"
    IBAN = "IBAN"
    SSN = "SSN"
    IP = "IP"
    ID_NUMBER = "ID_NUMBER"
    PASSWORD = "PASSWORD"  # noqa: S105 - the name of a kind
    PERSON = "PERSON"
    ADDRESS = "ADDRESS"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where in a text something stands: character offsets, `end` exclusive. `score` in [0, 1]."""

    start: int
    end: int
    type: str
    score: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one detector says of one text. `score` in [0, 1]; `version` names the detector and its weights."""

    concern: Concern
    score: float
    version: str
    spans: tuple[Span, ...] = ()

    @property
    def flagged(self) -> bool:
        return self.score >= THRESHOLD

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without a word of the text."""
        return {
            "concern": self.concern.value,
            "score": self.score,
            "flagged": self.flagged,
            "version": self.version,
            "spans": [{"start": span.start, "end": span.end, "type": span.type} for span in self.spans],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The language of a text as ISO 639-1 names it, and how sure that is, in [0, 1]."""

    code: str
    confidence: float


class Action(Word):
    """What a flagged text means for its call, from the mildest to the strictest."""

    SKIP = "skip"  # nobody looks
    FLAG = "flag"  # the gate's checks may read the score
    REDACT = "redact"  # placeholders go out in the place of personal data
    MODERATED = "moderated"  # moderated experts only
    LOCAL_ONLY = "local_only"  # machines of one's own only
    HOLD = "hold"  # a person is asked
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorChoice:
    """Which detector looks for a concern: `built_in`, `presidio`, or `classifier` with the path of a model."""

    kind: str = "built_in"
    path: str | None = None
    bad_labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningPolicy:
    """What is done about each concern, and who looks for it. `restore`: answers get the true values back.

    `pii_types` are the kinds of personal data that count, `languages` those that are expected, as ISO 639-1 codes.
    """

    actions: Mapping[Concern, Action] = field(default_factory=dict)
    detectors: Mapping[Concern, tuple[DetectorChoice, ...]] = field(default_factory=dict)
    restore: bool = True
    pii_types: frozenset[PiiType] = frozenset(PiiType)
    languages: frozenset[str] = frozenset()

    def action(self, concern: Concern) -> Action:
        return self.actions.get(concern, Action.SKIP)
