"""What the gate leaves in the decision log, and what it learns from it.

Three kinds of rows, joined by their decision id; none of them holds a word of the text:

    gate        one choice: features, probabilities, the expert, and who chose         gate_row
    outcome     whether the expert that served did it: `success`                      outcome_row
    correction  who should have served: `better_expert`                               correction_row

A lesson comes of a correction (its expert), or else of a success: the expert that served. A failure teaches nothing:
who would have been better is not known. Nor does a success that the gate had not wished: the best expert had no room or
could not serve, or the gate was too unsure. A feedback row on the decision (domain.outcome.Feedback) takes a lesson
away where it calls the outcome a failure.

Learning from its own successes makes a gate surer of what it does already. What it gets wrong it learns from
corrections, and from callers who name the expert that is right for a text; callers that name one for its price teach it
nothing good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from crew_moe.domain.digest import digest
from crew_moe.local_gate.features import FEATURES, TextFeatures, Vector, vector_of
from crew_moe.local_gate.gate.choice import GateChoice
from crew_moe.local_gate.gate.file import features_digest
from crew_moe.local_gate.gate.lessons import Lessons

GATE: Final = "gate"
OUTCOME: Final = "outcome"
CORRECTION: Final = "correction"
FEEDBACK: Final = "feedback"


def gate_row(decision_id: str, choice: GateChoice, *, version: str) -> dict[str, Any]:
    """A choice of the gate, for `DecisionLog.append(decision_id, lambda: gate_row(...))`."""
    return {
        "kind": GATE,
        "decision_id": decision_id,
        "gate": version,
        "expert": choice.expert,
        "confidence": choice.confidence,
        "probabilities": dict(choice.probabilities),
        "wished": not (choice.overflowed or choice.unsure or choice.restricted),
        "chosen_by": "gate",
        **_features(choice.features),
    }


def named_row(decision_id: str, expert: str, seen: TextFeatures) -> dict[str, Any]:
    """A choice of the caller, who named the expert: the gate may learn from it as from its own."""
    return {
        "kind": GATE,
        "decision_id": decision_id,
        "expert": expert,
        "wished": True,
        "chosen_by": "caller",
        **_features(seen),
    }


def outcome_row(decision_id: str, expert: str, *, success: bool) -> dict[str, Any]:
    """How the expert that served did; appended as `<decision_id>/served/1`. An `Outcome` of the router does as well."""
    return {"kind": OUTCOME, "decision_id": decision_id, "expert_id": expert, "success": success}


def correction_row(decision_id: str, better_expert: str) -> dict[str, Any]:
    """Who should have served; appended as `<decision_id>/correction`."""
    return {"kind": CORRECTION, "decision_id": decision_id, "better_expert": better_expert}


def lessons_from_log(rows: Iterable[Mapping[str, Any]]) -> Lessons:
    """What rows of a log teach, as `DecisionLog.tail` gives them; those of other features, and all others, are passed
    over. Decisions on the same text, as far as its features tell, are of one cluster.
    """
    choices: dict[str, Mapping[str, Any]] = {}
    told: dict[str, dict[str, Mapping[str, Any]]] = {OUTCOME: {}, CORRECTION: {}, FEEDBACK: {}}
    for row in rows:
        kind, decision_id = row.get("kind"), row.get("decision_id")
        if kind == GATE and row.get("features_version") == features_digest():
            choices[str(decision_id)] = row
        elif kind in told:
            told[kind].setdefault(str(decision_id), row)  # rows come newest first: the last word counts
    found = {name: _lesson(row, *(told[kind].get(name, {}) for kind in told)) for name, row in sorted(choices.items())}
    taught = {name: expert for name, expert in found.items() if expert is not None}
    vectors = [vector_of(choices[name]["features"]) for name in taught]
    matrix = np.array(vectors) if vectors else np.zeros((0, len(FEATURES)))
    clusters = (f"log/{expert}/{_named(row)}" for expert, row in zip(taught.values(), vectors, strict=True))
    return Lessons(matrix, tuple(taught.values()), tuple(clusters))


def _named(vector: Vector) -> str:
    return digest(vector.tobytes().hex()).hex()


def _lesson(
    choice: Mapping[str, Any], outcome: Mapping[str, Any], correction: Mapping[str, Any], feedback: Mapping[str, Any]
) -> str | None:
    """The expert that a decision is a lesson for."""
    if correction:
        return str(correction["better_expert"])
    served_as_wished = choice["wished"] and outcome.get("expert_id") == choice["expert"]
    good = outcome.get("success") is True and feedback.get("outcome") != "failure"
    return str(choice["expert"]) if served_as_wished and good else None


def _features(seen: TextFeatures) -> dict[str, Any]:
    """The vector by name, without its zeros."""
    entries = {FEATURES[place]: float(seen.vector[place]) for place in np.flatnonzero(seen.vector)}
    return {"features_version": features_digest(), "features": entries}
