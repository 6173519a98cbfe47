"""Experts that the gate learns by a few examples of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from crew_moe.domain.hosting import GateSpec
from crew_moe.local_gate.features import BUCKETS, FEATURES, features
from crew_moe.local_gate.gate import gate as gate_module
from crew_moe.local_gate.gate.corpus import packaged_examples
from crew_moe.local_gate.gate.gate import Gate, packaged
from crew_moe.local_gate.gate.newcomers import PER_EXAMPLE, fit_with, variants
from crew_moe.screening.language import ScriptDetector
from tests.local_gate.gate.given import PACKAGED, QUICK, hosts
from tests.local_gate.gate.held_out import ASKS, BYT5, document

SQL = (
    "SELECT name, age FROM users WHERE age > 30 ORDER BY name;",
    "Write a SQL query that counts the orders per customer in the table orders",
    "INSERT INTO items (id, title) VALUES (7, 'lamp');",
    "How do I join the tables invoices and customers on customer_id?",
    "UPDATE stock SET amount = amount - 1 WHERE item_id = 12 AND amount > 0;",
)
MORE_SQL = (
    "SELECT COUNT(*) FROM orders GROUP BY customer_id HAVING COUNT(*) > 5;",
    "DELETE FROM sessions WHERE expires < NOW();",
    "Write a SQL query for the three best paid employees in the table staff",
    "How do I write a left join of the tables orders and customers?",
)
POEMS = (
    "The river bends below the hill,\nThe evening birds are calling,\nA window glows, the mill is still,\n"
    "And softly, snow is falling.",
    "O wind that wakes the sleeping sea,\nwhat song is it you bring to me?\nA song of salt, a song of rain,\n"
    "of ships that won't come home again.",
    "I found a feather on the stair,\nas white as bone, as light as air.\n\nI asked the crow, I asked the dove,\n"
    "but none had lost it from above.",
    "Two roads of dust, one cup of tea,\na letter never sent to me,\nthe moon above the orchard wall,\n"
    "the hush before the apples fall.",
)
MORE_POEMS = (
    "The lamp is low, the hour is late,\nthe garden leans against the gate,\nand all the words I meant to say\n"
    "have followed you along the way.",
    "Grey is the morning,\ngrey is the bay,\ngulls give a warning\nand fly away.",
)
PATIENTS = (
    "My patient has had a fever of 39 degrees and a cough for three days. Which tests should I order?",
    "What is the usual dose of ibuprofen for a child of 20 kg?",
    "Are there interactions between warfarin and amoxicillin?",
    "A 54 year old woman presents with chest pain and shortness of breath. What is the differential diagnosis?",
    "Which symptoms point to appendicitis rather than gastritis?",
    "When should a patient with diabetes start insulin treatment?",
)
MORE_PATIENTS = (
    "A 30 year old man presents with fever and abdominal pain. What is the diagnosis?",
    "What is the maximum dose of paracetamol for a patient with liver disease?",
    "Which symptoms of pneumonia need treatment in hospital?",
)
NEWCOMERS = {"sql": (SQL, MORE_SQL), "poet": (POEMS, MORE_POEMS), "medical": (PATIENTS, MORE_PATIENTS)}


@pytest.fixture(scope="module", params=["sql", "poet"])
def learned(request: pytest.FixtureRequest) -> tuple[str, Gate]:
    return request.param, Gate.open(GateSpec(), hosts(**{request.param: NEWCOMERS[request.param][0]}))


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training that is fast and not good."""
    monkeypatch.setattr(gate_module, "fit_with", partial(fit_with, recipe=QUICK))


def chosen(gate: Gate, texts: Sequence[str]) -> list[str]:
    return [gate.choose(gate.features(text), gate.experts).expert for text in texts]


def test_new_expert_wins_texts_like_its_examples(learned: tuple[str, Gate]) -> None:
    name, gate = learned

    assert chosen(gate, NEWCOMERS[name][1]) == [name] * len(NEWCOMERS[name][1])


def test_new_expert_takes_nothing_that_is_the_others(learned: tuple[str, Gate]) -> None:
    name, gate = learned
    examples = list(packaged_examples(seed=5))[::7]

    served = chosen(gate, [one.text for one in examples])

    assert served.count(name) <= 0.02 * len(served)
    assert np.mean([one == example.expert for one, example in zip(served, examples, strict=True)]) > 0.95


def test_held_out_queries_go_where_they_went(learned: tuple[str, Gate]) -> None:
    _, gate = learned

    assert chosen(gate, BYT5) == ["byt5"] * len(BYT5)
    assert chosen(gate, [f"{ask}\n{document(name)}" for name, ask in ASKS.items()]) == ["longformer"] * len(ASKS)


def test_several_new_experts_stand_side_by_side() -> None:
    gate = Gate.open(GateSpec(), hosts(**{name: given for name, (given, _) in NEWCOMERS.items()}))

    right = [one == name for name, (_, more) in NEWCOMERS.items() for one in chosen(gate, more)]
    assert sum(right) >= len(right) - 1
    assert chosen(gate, BYT5) == ["byt5"] * len(BYT5)


def test_known_expert_learns_by_examples_too() -> None:
    plan = hosts()
    plan["longformer"] = replace(plan["longformer"], examples=POEMS)

    gate = Gate.open(GateSpec(), plan)

    assert chosen(gate, MORE_POEMS) == ["longformer"] * len(MORE_POEMS)
    assert chosen(gate, BYT5) == ["byt5"] * len(BYT5)
    assert chosen(gate, [f"{ask}\n{document(name)}" for name, ask in ASKS.items()]) == ["longformer"] * len(ASKS)


@pytest.mark.usefixtures("quickly")
def test_trained_gate_is_kept_found_again_and_made_anew_where_it_was_cut_short(tmp_path: Path) -> None:
    plan = hosts(poet=POEMS[:3])

    first = Gate.open(GateSpec(kept_in=tmp_path), plan)
    (folder,) = tmp_path.iterdir()
    stamp = (folder / "gate.npz").stat().st_mtime_ns
    second = Gate.open(GateSpec(kept_in=tmp_path), plan)

    assert first.version == second.version != packaged().version
    assert (folder / "gate.npz").stat().st_mtime_ns == stamp
    assert first.file.provenance["examples"] == {"poet": 3}

    (folder / "gate.npz").write_bytes(b"half")  # as if the writer had been killed
    assert Gate.open(GateSpec(kept_in=tmp_path), plan).version == first.version


@pytest.mark.usefixtures("quickly")
def test_gate_opens_where_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    gate = Gate.open(GateSpec(kept_in=tmp_path / "file"), hosts(poet=POEMS[:3]))

    assert "poet" in gate.experts


def test_gate_may_learn_by_language_where_a_detector_is_given() -> None:
    russian = (
        "Как лучше подготовиться к экзамену по истории, если осталось всего три дня до него и нет учебников?",
    ) * 3

    gate = Gate.open(GateSpec(), hosts(russian=russian), languages=ScriptDetector())

    text = "Почему важно пить достаточно воды каждый день, особенно летом, когда жарко и мы много двигаемся на улице?"
    assert chosen(gate, [text]) == ["russian"]
    assert np.isfinite(gate.file.network.scale[FEATURES.index("language_ru")])


def test_variants_are_made_of_the_examples_words() -> None:
    made = list(variants(POEMS, Random(1)))

    words = {word for poem in POEMS for word in poem.split()}
    assert len(made) == len(POEMS) * (1 + PER_EXAMPLE)
    assert made[0] == POEMS[0]
    assert {word for text in made for word in text.split()} == words
    assert made == list(variants(POEMS, Random(1)))
    assert list(variants([" "], Random(1))) == [" "]


def test_opening_without_examples_trains_nothing() -> None:
    gate = Gate.open(GateSpec(), hosts())

    assert gate.file is packaged()
    assert gate.experts == PACKAGED
    assert len(features("x").vector) == len(FEATURES) > BUCKETS
