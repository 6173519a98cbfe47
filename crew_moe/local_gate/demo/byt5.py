"""The tiny ByT5: how it is built, what it practises, and how exactly it answers.

To rewrite a text byte by byte, a model must find where it is in it: at what followed the same few bytes before (Olsson
et al., "In-context learning and induction heads", 2022). So every head of self-attention starts out looking at one
neighbour, which training may change: that saves most of the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

import torch
from transformers import ByT5Tokenizer, GenerationConfig, T5Config, T5ForConditionalGeneration

from crew_moe.local_gate.demo.exercises import MAX_WORDS, TASKS, Exercise, exercise
from crew_moe.local_gate.demo.training import IGNORED, Batch, Recipe, padded

RECIPE: Final = Recipe(steps=4800, texts=32, rate=3e-3)
WIDTH: Final = 64
HEADS: Final = 4
BUCKETS: Final = 64  # of relative positions; the nearest half of them are single positions
MEASURED: Final = (*range(1, MAX_WORDS + 1), 2 * MAX_WORDS)  # words; the last shows why longer texts are cut
MOST_NEW: Final = 160  # tokens of an answer

_PAD, _END = 0, 1
_FIRST_BYTE: Final = 3  # token of the byte 0: padding, end and unknown come before it
_POOL: Final = 8  # batches that are drawn together, so that each has texts of about one length
_EASY: Final = 0.25  # share of the training until exercises are as long as they get
_SHARES: Final = {"rot13": 3, "html": 4, "plain": 4, "upper": 2}  # how often each task is practised
_FOCUS: Final = 5.0  # how much a head prefers its neighbour at the start, as a logit
_BEHIND_AND_AHEAD: Final = (-1, -2, 1, -3)  # the encoder's heads
_BEHIND: Final = (0, -1, -2, -3)  # the decoder's


class Byt5Lesson:
    """Implements training.Lesson. `per_cell` is how many texts each figure of the accuracy rests on."""

    def __init__(self, *, seed: int, per_cell: int, recipe: Recipe = RECIPE) -> None:
        self.recipe = recipe
        self.tokenizer: Any = ByT5Tokenizer()
        self.model: Any = _model(seed)
        self._rng = Random(seed)
        self._exam = Random(seed + 1)
        self._per_cell = per_cell
        self._pool: list[Sequence[Exercise]] = []

    def batch(self, done: float) -> Batch:
        """Exercises of all tasks, harder tasks more often; the longer ones come in as training goes on."""
        if not self._pool:
            drawn = [self._drawn(done) for _ in range(_POOL * self.recipe.texts)]
            drawn.sort(key=lambda one: len(one.given) + len(one.wanted))
            size = self.recipe.texts
            self._pool = [drawn[start : start + size] for start in range(0, len(drawn), size)]
            self._rng.shuffle(self._pool)
        return batch_of(self._pool.pop())

    def accuracy(self) -> dict[str, dict[str, float]]:
        """Share of answers that are exact, by task and by the number of words, none of which was ever practised."""
        return {task: {_counted(words): self._exact(task, words) for words in MEASURED} for task in TASKS}

    def answers(self, given: Sequence[str], most: int = MOST_NEW) -> list[str]:
        """What the model makes of these texts, prefix and all; the likeliest byte each time, at most `most` of them."""
        inputs = padded([tokens(text) for text in given], _PAD)
        with torch.inference_mode():
            found = self.model.generate(input_ids=inputs, attention_mask=(inputs != _PAD).long(), max_new_tokens=most)
        return list(self.tokenizer.batch_decode(found, skip_special_tokens=True))

    def _drawn(self, done: float) -> Exercise:
        hardest = 1 + (MAX_WORDS - 1) * min(1.0, done / _EASY)
        words = int(1 + hardest * self._rng.random() ** 0.7)  # the longer ones are harder, so they come more often
        (task,) = self._rng.choices(tuple(_SHARES), tuple(_SHARES.values()))
        return exercise(self._rng, task, min(words, MAX_WORDS))

    def _exact(self, task: str, words: int) -> float:
        drawn = [exercise(self._exam, task, words, held_out=True) for _ in range(self._per_cell)]
        longest = max(len(one.wanted) for one in drawn) + 2  # the end, and one more to be wrong by
        answered = self.answers([one.given for one in drawn], longest)
        return sum(answer == one.wanted for answer, one in zip(answered, drawn, strict=True)) / len(drawn)


def tokens(text: str) -> list[int]:
    """As ByT5Tokenizer does, at the speed that training wants."""
    return [byte + _FIRST_BYTE for byte in text.encode()] + [_END]


def batch_of(exercises: Sequence[Exercise]) -> Batch:
    """These exercises as tensors."""
    inputs = padded([tokens(one.given) for one in exercises], _PAD)
    labels = padded([tokens(one.wanted) for one in exercises], IGNORED)
    return Batch({"input_ids": inputs, "attention_mask": (inputs != _PAD).long()}, labels)


def _counted(words: int) -> str:
    return f"{words} words" if words > 1 else "1 word"


def _model(seed: int) -> Any:
    config = T5Config(
        vocab_size=384,
        d_model=WIDTH,
        d_kv=WIDTH // HEADS,
        d_ff=2 * WIDTH,
        num_heads=HEADS,
        num_layers=2,
        num_decoder_layers=1,
        relative_attention_num_buckets=BUCKETS,
        relative_attention_max_distance=BUCKETS,
        dropout_rate=0.0,
        pad_token_id=_PAD,
        eos_token_id=_END,
        decoder_start_token_id=_PAD,
        tokenizer_class="ByT5Tokenizer",
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(config)
    _look_at_neighbours(model.encoder, _encoder_buckets())
    _look_at_neighbours(model.decoder, (-offset for offset in _BEHIND))
    model.generation_config = GenerationConfig(
        max_new_tokens=MOST_NEW, pad_token_id=_PAD, eos_token_id=_END, decoder_start_token_id=_PAD
    )
    return model


def _encoder_buckets() -> Iterator[int]:
    """The encoder sees both sides: the upper half of its buckets is for what is ahead."""
    return (offset + BUCKETS // 2 if offset > 0 else -offset for offset in _BEHIND_AND_AHEAD)


def _look_at_neighbours(stack: Any, buckets: Iterator[int]) -> None:
    """One bucket for each head of a stack; its first layer holds the biases of all."""
    biases = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight  # (buckets, heads)
    with torch.no_grad():
        for head, bucket in enumerate(buckets):
            biases[bucket, head] += _FOCUS
