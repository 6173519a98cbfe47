"""The tiny LED (a Longformer with a decoder): how it is built, what it practises, and how well it sums up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from statistics import fmean
from typing import Any, Final

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GenerationConfig, LEDConfig, LEDForConditionalGeneration, LEDTokenizer

from crew_moe.local_gate.demo.documents import Document, document
from crew_moe.local_gate.demo.manifest import DemoTask
from crew_moe.local_gate.demo.neighbours import look_at, positions
from crew_moe.local_gate.demo.overlap import rouge_1, rouge_l
from crew_moe.local_gate.demo.training import IGNORED, Batch, Recipe, padded

RECIPE: Final = Recipe(steps=2600, texts=16, rate=2.5e-3)
TASKS: Final[Mapping[str, DemoTask]] = {
    "summary": DemoTask(
        prefix="",
        patterns=(
            r"\bsummar(y|i[sz]e)",
            r"\b(key|main) points?\b",
            r"\A\s*(please |can you )?(analy[sz]e|compare|condense|explain|extract|highlight|review|shorten)\b",
        ),
    )
}
VOCABULARY: Final = 1024
WIDTH: Final = 64
HEADS: Final = 4
WINDOW: Final = 32  # tokens
LONGEST: Final = 1024  # tokens of a text
MOST_NEW: Final = 120  # tokens of an answer
MEASURED: Final = {"2 to 6 sentences": (2, 6), "20 to 30 sentences": (20, 30)}

_SPECIAL: Final = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # in the order of their ids, as LED's own tokenizer has
_START, _PAD, _END = 0, 1, 2
_READ: Final = 600  # documents that the vocabulary is made from
_SIZE: Final = 0.125  # standard deviation of the weights at the start
_MOST_SENTENCES: Final = 6
_MANY_SENTENCES: Final = 30
_LONG: Final = 0.3  # of the batches
_EASY: Final = 0.3  # share of the training until documents are as long as they get
_ENCODER_OFFSETS: Final = (-1, -2, 1, -3)
_DECODER_OFFSETS: Final = (0, -1, -2, -3)


class LongformerLesson:
    """Implements training.Lesson. `per_cell` is how many documents each figure of the accuracy rests on."""

    def __init__(self, *, seed: int, per_cell: int, recipe: Recipe = RECIPE) -> None:
        self.recipe = recipe
        self.tokenizer: Any = learned_tokenizer(seed)
        self.model: Any = _model(seed, len(self.tokenizer))
        self._rng = Random(seed)
        self._exam = Random(seed + 1)
        self._per_cell = per_cell

    def batch(self, done: float) -> Batch:
        """Documents that get longer as training goes on; later some are really long, but then few of them together."""
        most, texts = int(2 + (_MOST_SENTENCES - 2) * min(1.0, done / _EASY)), self.recipe.texts
        if done > _EASY and self._rng.random() < _LONG:
            most, texts = _MANY_SENTENCES, max(1, texts * _MOST_SENTENCES // _MANY_SENTENCES)
        drawn = [document(self._rng, self._rng.randint(1, most)) for _ in range(texts)]
        wanted = self.tokenizer([one.summary for one in drawn])["input_ids"]
        return Batch(self._inputs([one.text for one in drawn]), padded([row[1:] for row in wanted], IGNORED))

    def accuracy(self) -> dict[str, dict[str, float]]:
        """Share of summaries that are exact, and their overlap with the wanted ones, by the length of the document."""
        return {name: self._measured(*lengths) for name, lengths in MEASURED.items()}

    def answers(self, given: Sequence[str]) -> list[str]:
        """What the model makes of these texts; the likeliest token each time."""
        with torch.inference_mode():
            found = self.model.generate(**self._inputs(given))
        return [text.strip() for text in self.tokenizer.batch_decode(found, skip_special_tokens=True)]

    def _measured(self, fewest: int, most: int) -> dict[str, float]:
        lengths = [self._exam.randint(fewest, most) for _ in range(self._per_cell)]
        drawn = [document(self._exam, length, held_out=True) for length in lengths]
        answered = self.answers([one.text for one in drawn])
        return {
            "exact, first sentence": _exact(answered, drawn, marked=False),
            "exact, marked sentence": _exact(answered, drawn, marked=True),
            "rouge_1": fmean(map(rouge_1, answered, (one.summary for one in drawn))),
            "rouge_l": fmean(map(rouge_l, answered, (one.summary for one in drawn))),
        }

    def _inputs(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Whole windows, as the model warns of what it must pad itself; the first token sees all and is seen by all."""
        rows = self.tokenizer(list(texts), truncation=True, max_length=LONGEST)["input_ids"]
        ids = padded(rows, _PAD)
        ids = torch.nn.functional.pad(ids, (0, -ids.shape[1] % WINDOW), value=_PAD)
        first = torch.zeros_like(ids)
        first[:, 0] = 1
        return {"input_ids": ids, "attention_mask": (ids != _PAD).long(), "global_attention_mask": first}


def learned_tokenizer(seed: int, read: int = _READ) -> Any:
    """Byte-pair encoding over bytes, learned from documents: any text can be written in it."""
    learned = ByteLevelBPETokenizer()
    learned.train_from_iterator(
        _texts(seed, read), vocab_size=VOCABULARY, special_tokens=list(_SPECIAL), show_progress=False
    )
    model = json.loads(learned.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return LEDTokenizer(vocab=model["vocab"], merges=merges, model_max_length=LONGEST)


def _texts(seed: int, count: int) -> Iterator[str]:
    rng = Random(seed)
    return (document(rng, _MOST_SENTENCES).text for _ in range(count))


def _exact(answered: Sequence[str], drawn: Sequence[Document], *, marked: bool) -> float:
    pairs = [(answer, one) for answer, one in zip(answered, drawn, strict=True) if one.marked == marked]
    return sum(answer == one.summary for answer, one in pairs) / max(1, len(pairs))


def _model(seed: int, vocabulary: int) -> Any:
    config = LEDConfig(
        vocab_size=vocabulary,
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=2 * WIDTH,
        decoder_ffn_dim=2 * WIDTH,
        max_encoder_position_embeddings=LONGEST,
        max_decoder_position_embeddings=MOST_NEW + 8,
        attention_window=[WINDOW, WINDOW],
        dropout=0.0,
        init_std=_SIZE,
        bos_token_id=_START,
        pad_token_id=_PAD,
        eos_token_id=_END,
        decoder_start_token_id=_END,
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = LEDForConditionalGeneration(config)
    _look_at_neighbours(model.led)
    model.generation_config = GenerationConfig(
        max_new_tokens=MOST_NEW,
        bos_token_id=_START,
        pad_token_id=_PAD,
        eos_token_id=_END,
        decoder_start_token_id=_END,
    )
    return model


def _look_at_neighbours(led: Any) -> None:
    for stack in (led.encoder, led.decoder):
        table = stack.embed_positions.weight
        count, width = table.shape
        with torch.no_grad():
            table.copy_(positions(count, width, _SIZE))
    for layer in led.encoder.layers:
        attention = layer.self_attn.longformer_self_attn
        look_at(attention.query, attention.key, _ENCODER_OFFSETS)
    for layer in led.decoder.layers:
        look_at(layer.self_attn.q_proj, layer.self_attn.k_proj, _DECODER_OFFSETS)
