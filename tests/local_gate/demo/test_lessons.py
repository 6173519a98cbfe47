"""The two lessons: how the models start, that they learn, and that only exact answers count as such."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from statistics import fmean
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from crew_moe.clock import SystemClock  # noqa: E402 - only where torch is
from crew_moe.local_gate.demo import byt5, longformer  # noqa: E402
from crew_moe.local_gate.demo.documents import document  # noqa: E402
from crew_moe.local_gate.demo.exercises import TASKS, exercise  # noqa: E402
from crew_moe.local_gate.demo.neighbours import look_at, positions  # noqa: E402
from crew_moe.local_gate.demo.training import IGNORED, Recipe, fit, padded, rate_at  # noqa: E402

OFFSETS = (0, -1, 2, -3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model gains nothing by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def spelling() -> byt5.Byt5Lesson:
    return byt5.Byt5Lesson(seed=1, per_cell=8, recipe=Recipe(steps=30, texts=8, rate=4e-3))


@pytest.fixture(scope="module")
def summing_up() -> longformer.LongformerLesson:
    return longformer.LongformerLesson(seed=1, per_cell=6, recipe=Recipe(steps=30, texts=6, rate=3e-3))


@pytest.mark.parametrize("lesson", ["spelling", "summing_up"])
def test_a_few_steps_teach_something(request: pytest.FixtureRequest, lesson: str) -> None:
    losses = fit(request.getfixturevalue(lesson), clock=SystemClock()).losses

    assert len(losses) == 30
    assert fmean(losses[-5:]) < 0.85 * fmean(losses[:3])


@pytest.mark.parametrize("text", ["rot13: Grüße 東京!", "", "a\x00b"])
def test_bytes_are_numbered_as_the_tokenizer_does(spelling: byt5.Byt5Lesson, text: str) -> None:
    assert byt5.tokens(text) == spelling.tokenizer(text)["input_ids"]


def test_heads_of_byt5_start_out_looking_at_their_neighbours() -> None:
    model = byt5.Byt5Lesson(seed=3, per_cell=1).model

    for stack, offsets in ((model.encoder, (-1, -2, 1, -3)), (model.decoder, (0, -1, -2, -3))):
        biases = stack.block[0].layer[0].SelfAttention.compute_bias(24, 24)[0].detach()  # (heads, from, to)
        seen = biases[:, 12, : (13 if stack.is_decoder else None)].argmax(dim=-1)
        assert [int(place) - 12 for place in seen] == list(offsets)


@pytest.mark.parametrize("place", [5, 200, 900])
def test_heads_of_the_led_start_out_looking_at_their_neighbours(place: int) -> None:
    torch.manual_seed(0)
    query, key, table = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64), positions(1024, 64, 1.0)
    look_at(query, key, OFFSETS)

    with torch.inference_mode():
        asks = query(table[place]).view(4, 16)
        scores = torch.einsum("hd,nhd->hn", asks, key(table[place - 5 : place + 6]).view(-1, 4, 16))

    assert (scores.argmax(dim=1) - 5).tolist() == list(OFFSETS)


def test_exercises_grow_with_the_training(spelling: byt5.Byt5Lesson) -> None:
    longest = [max(batch.inputs["input_ids"].shape[1] for batch in _batches(spelling, done)) for done in (0.0, 0.9)]

    assert longest[0] < 30 < longest[1]


def _batches(lesson: byt5.Byt5Lesson, done: float) -> Sequence[Any]:
    lesson._pool = []
    return [lesson.batch(done) for _ in range(8)]


def test_batch_says_where_the_texts_end(summing_up: longformer.LongformerLesson) -> None:
    batch = summing_up.batch(0.0)
    ids, mask, first = (batch.inputs[name] for name in ("input_ids", "attention_mask", "global_attention_mask"))

    assert ids.shape[1] % longformer.WINDOW == 0
    assert torch.equal(mask == 0, ids == summing_up.tokenizer.pad_token_id)
    assert first.sum(dim=0).tolist() == [len(ids)] + [0] * (ids.shape[1] - 1)
    ends = [row[row != IGNORED][-1].item() for row in batch.labels]
    assert ends == [summing_up.tokenizer.eos_token_id] * len(ids)


def test_same_documents_give_the_same_vocabulary() -> None:
    first, again, other = (longformer.learned_tokenizer(seed, read=20).get_vocab() for seed in (1, 1, 2))

    assert first == again != other


class _Knows:
    """Stands in for the model of a lesson: gives the wanted answers, but for some."""

    def __init__(self, lesson: Any, wanted: dict[str, str]) -> None:
        self.lesson, self.wanted = lesson, wanted

    def generate(self, *, input_ids: Any, **_: Any) -> Any:
        given = self.lesson.tokenizer.batch_decode(input_ids, skip_special_tokens=True)
        rows = self.lesson.tokenizer([self.wanted[text] for text in given])["input_ids"]
        return padded(rows, self.lesson.tokenizer.pad_token_id)


def test_accuracy_counts_exact_answers_alone() -> None:
    lesson = byt5.Byt5Lesson(seed=1, per_cell=8)
    exam = Random(2)
    drawn = [exercise(exam, task, words, held_out=True) for task in TASKS for words in byt5.MEASURED for _ in range(8)]
    wanted = {one.given: one.wanted for one in drawn}
    rot13 = [one for one in drawn if one.given.startswith("rot13")]
    wanted |= {one.given: one.wanted[:-1] for one in rot13[:2]} | {
        one.given: one.wanted.lower() + "." for one in rot13[8:16]
    }
    lesson.model = _Knows(lesson, wanted)

    figures = lesson.accuracy()

    assert figures["rot13"] == {"1 word": 0.75, "2 words": 0.0, "3 words": 1.0, "4 words": 1.0, "8 words": 1.0}
    assert {share for task in ("html", "plain", "upper") for share in figures[task].values()} == {1.0}


def test_summaries_are_measured_by_rule_and_length() -> None:
    lesson = longformer.LongformerLesson(seed=1, per_cell=6)
    exam, wanted = Random(2), dict[str, str]()
    for fewest, most in longformer.MEASURED.values():
        lengths = [exam.randint(fewest, most) for _ in range(6)]
        drawn = [document(exam, length, held_out=True) for length in lengths]
        wanted |= {one.text: "nothing of it" if one.marked else one.summary for one in drawn}
    lesson.model = _Knows(lesson, wanted)

    for figures in lesson.accuracy().values():
        assert (figures["exact, first sentence"], figures["exact, marked sentence"]) == (1.0, 0.0)
        assert 0 < figures["rouge_l"] <= figures["rouge_1"] < 1


def test_rate_rises_and_then_falls_to_nothing() -> None:
    rates = [rate_at(done / 100) for done in range(101)]

    assert 0 < rates[0] < rates[4] < max(rates) == rates[5] == 1
    assert sorted(rates[5:], reverse=True) == rates[5:]
    assert rates[-1] == pytest.approx(0)
