"""What a quality model says of every expert there is: its prediction, or a prior of whom it has never learned."""

from __future__ import annotations

from pathlib import Path

from crew_moe.domain.insight import Insight
from crew_moe.domain.registry import Registry
from crew_moe.learning.quality.prior import prior_quality
from crew_moe.learning.quality_model import QualityModel
from crew_moe.ports import EventSink


class Foresight:
    """Predicts with one model. Safe for threads: of two that meet, each works the same priors out."""

    def __init__(self, model: QualityModel, sink: EventSink) -> None:
        self._model = model
        self._sink = sink
        self._priors: tuple[Registry, dict[str, tuple[float, float]]] | None = None

    @classmethod
    def read(cls, path: str, sink: EventSink, folder: Path | None = None) -> Foresight:
        """Raises ConfigError for a model that is missing, changed, or made by another version, or whose embedder is
        neither installed nor in `folder`.
        """
        return cls(QualityModel.load(Path(path), folder=folder), sink)

    def insight(self, text: str, task_type: str | None, registry: Registry) -> Insight:
        """Quality and spread of every expert of the registry; a `task_type` that was given counts as true."""
        found = self._model.predict(text, task_type)
        if found.failed:
            self._sink.emit("embedder_failed", model=self._model.version, error=found.failed)
        quality = dict(zip(self._model.experts, found.quality.tolist(), strict=True))
        spread = dict(zip(self._model.experts, found.spread.tolist(), strict=True))
        priors = self._cold(registry)
        return Insight(
            model=self._model.version,
            familiar=found.familiar,
            quality={one.expert_id: quality.get(one.expert_id, priors[one.expert_id][0]) for one in registry.experts},
            spread={one.expert_id: spread.get(one.expert_id, priors[one.expert_id][1]) for one in registry.experts},
        )

    def _cold(self, registry: Registry) -> dict[str, tuple[float, float]]:
        kept = self._priors
        if kept is None or kept[0] is not registry:
            kept = registry, {one.expert_id: prior_quality(one, self._model) for one in registry.experts}
            self._priors = kept
        return kept[1]
