"""A classifier tells a label and how sure it is; of a long text, by all of its chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Made, Work
from crew_moe.errors import HostFailed
from tests.local_gate.hosts.weights_folders import Tiny, tiny

__all__ = ["tiny"]  # a fixture
LONG = "The pump failed at noon. Was the valve open? " * 20


def answers(tiny: Tiny, *works: Work, **told: Any) -> list[str]:
    pytest.importorskip("torch", reason="torch is not installed")
    from crew_moe.local_gate.classifier import open_model

    model = open_model(HostSpec(name="it", kind=HostKind.CLASSIFIER, path=tiny("classifier"), **told))
    made = model.process(works)
    assert all(isinstance(one, Made) for one in made), made
    return [one.text for one in made if isinstance(one, Made)]


def test_label_comes_with_its_probability(tiny: Tiny) -> None:
    (text,) = answers(tiny, Work(text="The pump failed."))

    label, _, share = text.partition(" ")
    assert label in {"praise", "complaint", "question"}
    assert 0.34 <= float(share.strip("()")) <= 1


@pytest.mark.parametrize("text", ["The pump failed.", LONG])
def test_json_holds_every_label(tiny: Tiny, text: str) -> None:
    (answer,) = answers(tiny, Work(text=text, options={"json": True}))

    told = json.loads(answer)
    assert sum(told["scores"].values()) == pytest.approx(1.0, abs=1e-3)
    assert told["score"] == max(told["scores"].values()) == told["scores"][told["label"]]


def test_long_text_is_the_mean_of_its_chunks_by_their_tokens(tiny: Tiny) -> None:
    from crew_moe.local_gate.classifier import open_model

    spec = HostSpec(name="it", kind=HostKind.CLASSIFIER, path=tiny("classifier"), chunk_tokens=16)
    parts = ("The pump failed at noon.", "Was the valve open?")

    made = open_model(spec).process([Work(text=text, options={"json": True}) for text in (*parts, " ".join(parts))])
    tokens = [one.input_tokens for one in made if isinstance(one, Made)]
    one, other, whole = (json.loads(answer.text)["scores"] for answer in made if isinstance(answer, Made))

    assert one != pytest.approx(other, abs=1e-3)
    assert tokens[2] == tokens[0] + tokens[1]
    mean = {name: (one[name] * tokens[0] + other[name] * tokens[1]) / tokens[2] for name in one}
    assert whole == pytest.approx(mean, abs=1e-3)


def test_wrong_type_of_an_option_is_refused(tiny: Tiny) -> None:
    from crew_moe.local_gate.classifier import open_model

    model = open_model(HostSpec(name="it", kind=HostKind.CLASSIFIER, path=tiny("classifier")))

    (refused,) = model.process([Work(text="x", options={"json": "yes"})])

    assert isinstance(refused, HostFailed)
    assert "'json'" in refused.what
