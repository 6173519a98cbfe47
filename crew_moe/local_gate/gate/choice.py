"""Which expert serves one text: a masked softmax over those that can, and what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from crew_moe.domain.hosting import GateSpec
from crew_moe.errors import InvalidInput
from crew_moe.local_gate.features import TextFeatures
from crew_moe.local_gate.gate.capacity import Recent
from crew_moe.local_gate.gate.network import MORE, Array, Network, softmax

LEAST: Final = 1e-9  # a probability that the network calls 0 is told as this


@dataclass(frozen=True, slots=True, kw_only=True)
class GateChoice:
    """The expert for a text. `confidence` is its probability among those that could serve, which `ranked` has, best
    first. `overflowed`: the best one had no room. `unsure`: its confidence was too low, and the plan's `otherwise`
    serves. `restricted`: not all experts that the gate knows could serve.
    """

    expert: str
    confidence: float
    probabilities: Mapping[str, float]
    ranked: tuple[str, ...]
    features: TextFeatures
    overflowed: bool = False
    unsure: bool = False
    restricted: bool = False

    def top(self, k: int) -> dict[str, float]:
        """The k best experts, with weights that sum to 1: for answers that are put together from several."""
        chances = {expert: self.probabilities[expert] for expert in self.ranked[: max(1, k)]}
        return {expert: chance / sum(chances.values()) for expert, chance in chances.items()}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without a word of the text."""
        return {
            "expert": self.expert,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
            "ranked": list(self.ranked),
            "overflowed": self.overflowed,
            "unsure": self.unsure,
            "restricted": self.restricted,
            "input_features": self.features.as_dict(),
        }


def choose(
    network: Network,
    labels: Mapping[str, str],
    seen: TextFeatures,
    among: Collection[str],
    *,
    spec: GateSpec,
    recent: Recent,
) -> tuple[GateChoice, Recent]:
    """Choose among the experts that can serve; `labels` says which of the network's outputs each of them has.

    Experts of one output share its probability. One without an output is never preferred to one that has one. Raises
    InvalidInput where nobody can serve.
    """
    if not among:
        raise InvalidInput("nobody can serve", where="among", allowed=sorted(labels))
    experts = sorted(expert for expert in among if expert in labels) or sorted(among)
    chances = softmax(_logits(network, labels, seen, experts))
    probabilities = {expert: max(LEAST, float(chance)) for expert, chance in zip(experts, chances, strict=True)}
    ranked = tuple(sorted(experts, key=lambda expert: (-probabilities[expert], expert != spec.otherwise, expert)))
    expert = recent.with_room(ranked, spec.capacity_factor)
    overflowed = expert != ranked[0]
    unsure = probabilities[ranked[0]] < spec.min_confidence and spec.otherwise in experts
    if unsure and spec.otherwise is not None:
        expert, overflowed = spec.otherwise, False
    choice = GateChoice(
        expert=expert,
        confidence=probabilities[expert],
        probabilities=probabilities,
        ranked=ranked,
        features=seen,
        overflowed=overflowed,
        unsure=unsure,
        restricted=len(experts) < len(labels),
    )
    return choice, recent.after(expert)


def _logits(network: Network, labels: Mapping[str, str], seen: TextFeatures, experts: list[str]) -> Array:
    """One for each expert; those that the network does not know are alike."""
    outputs = [labels.get(expert) for expert in experts]
    if outputs[0] is None:
        return np.zeros(len(experts))
    told = dict(zip(network.experts, network.logits(seen.vector), strict=True))
    whole = {name: np.logaddexp(logit, told.get(name + MORE, -np.inf)) for name, logit in told.items()}
    return np.array([whole[output] - np.log(outputs.count(output)) for output in outputs if output is not None])
