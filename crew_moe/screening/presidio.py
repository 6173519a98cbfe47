"""Presidio as a detector of personal data (extra `pii`): its pattern recognisers, and names where a model is installed.

Nothing is downloaded: without a spaCy model of its own a blank pipeline cuts the text into words, which is all that the
patterns and their context words need; e-mail domains are checked against the list that came with the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version as version_of
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from crew_moe.domain.screening import THRESHOLD, Concern, Finding, PiiType, Span
from crew_moe.errors import InvalidInput, MissingExtra
from crew_moe.screening.pii.overlap import without_overlaps

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

_MODELS: Final = ("en_core_web_trf", "en_core_web_lg", "en_core_web_md", "en_core_web_sm")
_WINDOW: Final = 4_000  # characters: some of Presidio's patterns take quadratic time over a run without spaces
_OVERLAP: Final = 200

# What is not here names nobody: dates, links, organisations, towns and countries, nationalities.
_KINDS: Final = {
    "EMAIL_ADDRESS": PiiType.EMAIL,
    "PHONE_NUMBER": PiiType.PHONE,
    "CREDIT_CARD": PiiType.CREDIT_CARD,
    "IBAN_CODE": PiiType.IBAN,
    "US_SSN": PiiType.SSN,
    "IP_ADDRESS": PiiType.IP,
    "PERSON": PiiType.PERSON,
    "CRYPTO": PiiType.OTHER,
    "MAC_ADDRESS": PiiType.OTHER,
    **dict.fromkeys(
        (
            "US_BANK_NUMBER", "US_DRIVER_LICENSE", "US_ITIN", "US_PASSPORT", "UK_NHS", "UK_NINO", "MEDICAL_LICENSE",
            "ES_NIF", "ES_NIE", "IT_FISCAL_CODE", "IT_DRIVER_LICENSE", "IT_VAT_CODE", "IT_PASSPORT", "IT_IDENTITY_CARD",
            "PL_PESEL", "SG_NRIC_FIN", "AU_TFN", "AU_MEDICARE", "IN_PAN", "IN_AADHAAR", "IN_VOTER", "IN_PASSPORT",
            "FI_PERSONAL_IDENTITY_CODE", "KR_RRN", "TH_TNIN",
        ),
        PiiType.ID_NUMBER,
    ),
}  # fmt: skip


class PresidioDetector:
    """Presidio's English recognisers behind the seam of every detector; the engine is built at the first use.

    `model`: an installed spaCy pipeline that finds names; None takes the largest that is there, or none.
    """

    concern: Final = Concern.PII

    def __init__(self, *, model: str | None = None) -> None:
        if find_spec("presidio_analyzer") is None:
            raise MissingExtra("pii", "presidio_analyzer")
        if model is not None and find_spec(model) is None:
            what = f"the spaCy model '{model}' is not installed"
            raise InvalidInput(what, where="model", value=model, allowed=_MODELS)
        self._model = model or next((name for name in _MODELS if find_spec(name) is not None), None)

    @cached_property
    def version(self) -> str:
        return f"presidio-{version_of('presidio-analyzer')}/{self._model or 'blank'}"

    def assess(self, text: str) -> Finding:
        found: dict[tuple[int, int, str], Span] = {}
        for offset, piece in _windows(text):
            for result in self._engine.analyze(piece, language="en", score_threshold=THRESHOLD):
                kind = _KINDS.get(result.entity_type)
                if kind is not None:
                    span = Span(
                        start=offset + result.start, end=offset + result.end, type=kind.value, score=float(result.score)
                    )
                    found.setdefault((span.start, span.end, span.type), span)
        spans = without_overlaps(found.values())
        worst = max((span.score for span in spans), default=0.0)
        return Finding(concern=self.concern, score=worst, version=self.version, spans=spans)

    @cached_property
    def _engine(self) -> AnalyzerEngine:
        from presidio_analyzer import AnalyzerEngine

        return AnalyzerEngine(registry=_registry(named=self._model is not None), nlp_engine=_pipeline(self._model))


def _registry(*, named: bool) -> RecognizerRegistry:
    """Presidio's recognisers but for those that are not asked about, and e-mail addresses without the network."""
    from presidio_analyzer import Pattern, PatternRecognizer, RecognizerRegistry

    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    unasked = ("UrlRecognizer", "DateRecognizer", *(() if named else ("SpacyRecognizer",)))
    # Presidio's own e-mail recogniser fetches the list of public suffixes when it first sees an address.
    for name in ("EmailRecognizer", *unasked):
        registry.remove_recognizer(name)
    email = Pattern(name="email", regex=r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}\b", score=0.9)
    registry.add_recognizer(PatternRecognizer(supported_entity="EMAIL_ADDRESS", patterns=[email], context=["email"]))
    return registry


def _pipeline(model: str | None) -> SpacyNlpEngine:
    import spacy
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model or "blank"}])
    pipeline: Any = {"en": spacy.blank("en") if model is None else spacy.load(model)}
    engine.nlp = pipeline  # else `load` would download one
    return engine


def _windows(text: str) -> Iterator[tuple[int, str]]:
    """(offset, piece) for overlapping pieces, so that nothing is torn at a border and time stays linear."""
    for offset in range(0, max(1, len(text) - _OVERLAP), _WINDOW - _OVERLAP):
        yield offset, text[offset : offset + _WINDOW]
