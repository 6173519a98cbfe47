"""The packaged gate on texts that it has not seen, and how a gate is opened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from crew_moe.domain.hosting import GateSpec, HostKind, HostSpec
from crew_moe.errors import ConfigError
from crew_moe.local_gate.gate.corpus import packaged_examples
from crew_moe.local_gate.gate.gate import FOLDER, Gate, labels, packaged, packaged_lessons
from tests.local_gate.gate import everyday
from tests.local_gate.gate.given import PACKAGED, hosts
from tests.local_gate.gate.held_out import ASKS, AUTO, BYT5, MIXED, architecture, document

OTHER_LANGUAGES = {
    "¿Cuál es la diferencia entre un lago y una laguna?": "extractive",
    "Wie lange sollte man Eier kochen, damit sie weich bleiben?": "extractive",
    "Que fait `[x for x in y if x]` ?": "byt5",
    "Was macht s/\\s+$//g in sed?": "byt5",
}


@pytest.fixture
def gate() -> Gate:
    return Gate.open(GateSpec(), hosts())


def expert(gate: Gate, text: str) -> str:
    return gate.choose(gate.features(text), PACKAGED).expert


@pytest.mark.parametrize("query", BYT5)
def test_short_special_query_goes_to_byt5(gate: Gate, query: str) -> None:
    assert expert(gate, query) == "byt5"


@pytest.mark.parametrize("name", ASKS)
def test_long_document_with_its_question_goes_to_longformer(gate: Gate, name: str) -> None:
    text = document(name)

    assert len(text) > 4_000
    assert expert(gate, f"{ASKS[name]}\n{text}") == "longformer"


@pytest.mark.parametrize("name", ASKS)
def test_two_thousand_characters_of_a_document_are_long_enough(gate: Gate, name: str) -> None:
    assert expert(gate, f"{ASKS[name]}\n{document(name)[:2_000]}") == "longformer"


@pytest.mark.parametrize("query", [*AUTO, f"{MIXED}\n{architecture()}"], ids=["apis", "search", "mixed"])
def test_query_for_any_expert_gets_a_valid_one_with_a_confidence(gate: Gate, query: str) -> None:
    choice = gate.choose(gate.features(query), PACKAGED)

    assert choice.expert in PACKAGED
    assert 0 < choice.confidence <= 1
    assert choice.features.as_dict()["chars"] == len(query)


def test_conversation_is_routed_anew_at_each_turn(gate: Gate) -> None:
    turns = (
        "```js\nconst f = (a) => a?.data ?? [];\n```\nwhat does `??` do here?",
        "Thank you! And why do people like that language so much?",
        f"Now look at the whole of it. What should we change first?\n\n{architecture()}",
    )

    chosen = [gate.choose(gate.features(turn), PACKAGED, session="one").expert for turn in turns]

    assert chosen == ["byt5", "extractive", "longformer"]
    assert gate.diagnostics().churn == 1.0


@pytest.mark.parametrize(("text", "wished"), OTHER_LANGUAGES.items())
def test_other_languages_are_told_apart_too(gate: Gate, text: str, wished: str) -> None:
    assert expert(gate, text) == wished


def test_everyday_queries_mostly_go_where_they_belong(gate: Gate) -> None:
    byt5 = [expert(gate, query) for query in everyday.BYT5]
    extractive = [expert(gate, query) for query in everyday.EXTRACTIVE]

    right = byt5.count("byt5") + extractive.count("extractive")
    assert right / (len(byt5) + len(extractive)) >= 0.85


def test_balanced_traffic_is_served_by_all_alike(gate: Gate) -> None:
    examples = list(packaged_examples(seed=7))
    for name in PACKAGED:
        for one in [one for one in examples if one.expert == name][:60]:
            gate.choose(gate.features(one.text), PACKAGED)

    told = gate.diagnostics()
    assert told.choices == 180
    assert (told.load_cv2 < 0.1, told.importance_cv2 < 0.1, told.entropy > 0.95) == (True, True, True)


def test_packaged_gate_belongs_to_the_lessons_and_features_of_this_version() -> None:
    told = packaged().provenance

    assert told["content"] == packaged_lessons().digest(), "train it again: crew-moe local train-gate --out MODEL"
    assert told["figures"]["accuracy"] > 0.9
    assert told["figures"]["calibration_error_after"] < 0.05
    assert told["figures"]["load_cv2"] < 0.1


def test_known_experts_are_chosen_by_name_or_kind() -> None:
    plan = hosts() | {
        "ocr": HostSpec(name="ocr", kind=HostKind.BYT5),
        "chat": HostSpec(name="chat", kind=HostKind.VLLM),
    }

    assert labels(PACKAGED, plan) == {**{name: name for name in PACKAGED}, "ocr": "byt5"}


def test_gate_of_a_folder_is_used_as_it_is() -> None:
    assert Gate.open(GateSpec(model=FOLDER), hosts()).version == packaged().version


def test_folder_that_does_not_know_an_expert_with_examples_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not know 'sql', which has examples"):
        Gate.open(GateSpec(model=FOLDER), hosts(sql=("SELECT 1",)))


def test_folder_without_a_gate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gate\.json: can't be read"):
        Gate.open(GateSpec(model=tmp_path), hosts())


def test_capacity_bounds_the_share_of_one_expert() -> None:
    gate = Gate.open(GateSpec(capacity_factor=1.25), hosts())
    seen = gate.features(BYT5[0])

    for _ in range(64):
        gate.choose(seen, PACKAGED)

    told = gate.diagnostics()
    assert told.utilisation["byt5"] <= 27 / 64
    assert told.overflow == 1 - told.utilisation["byt5"]


def test_choices_from_many_threads_are_all_counted() -> None:
    gate = Gate.open(GateSpec(capacity_factor=1.0), hosts())
    seen = gate.features(BYT5[1])

    with ThreadPoolExecutor(4) as pool:
        choices = list(pool.map(lambda _: gate.choose(seen, PACKAGED), range(64)))

    assert gate.diagnostics().choices == 64
    assert np.bincount([PACKAGED.index(one.expert) for one in choices]).max() <= 22
