"""BERT-style classifiers: a text's label with its probability, and its embedding. Needs torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import Made, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts.chunks import Chunk, averaged, chunks
from crew_moe.local_gate.hosts.embedding import embedded
from crew_moe.local_gate.hosts.generation import ROWS, Encoded, encoded, tokens_of
from crew_moe.local_gate.hosts.input import merged_options
from crew_moe.local_gate.hosts.loading import LoadedModel, load
from crew_moe.local_gate.hosts.seq2seq import SPECIALS, window_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW: Final = 512
OPTIONS: Final[Mapping[str, type]] = {"json": bool}
OFFSET_KINDS: Final = ("roberta", "xlm-roberta", "camembert", "longformer")
"""Kinds of model that count positions from their padding token's id on, so that two of them hold no token."""


class Classifier:
    """Answers `label (0.93)`, or with the option `json` all labels with their probabilities.

    A text beyond the window gets the mean of its chunks' probabilities, by their tokens.
    """

    def __init__(self, spec: HostSpec, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._spec = spec
        config = loaded.model.config
        offset = 2 if config.model_type in OFFSET_KINDS else 0
        window = window_of(loaded, default=WINDOW, setting="max_position_embeddings") - offset
        self._budget = max(1, min(window, spec.chunk_tokens or window) - SPECIALS)
        self._labels = [str(config.id2label[number]) for number in range(config.num_labels)]

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        texts = [self._chunks(work.text) for work in works]
        rows = self._probabilities([part.text for text in texts for part in text])  # (chunks, labels)
        answers, start = list[Made | HostFailed](), 0
        for work, text in zip(works, texts, strict=True):
            end = start + len(text)
            tokens = [self._tokens(part.text) for part in text]
            answers.append(self._answer(work, averaged(rows[start:end], tokens), sum(tokens)))
            start = end
        return answers

    def stream(self, work: Work) -> Iterator[str]:
        made = self.process([work])[0]
        if isinstance(made, HostFailed):
            raise made
        yield made.text

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return embedded(self.loaded, [self._chunks(text) for text in texts], self._hidden, extras=_nothing)

    def _answer(self, work: Work, probabilities: NDArray[np.float64], tokens: int) -> Made | HostFailed:
        try:
            options = merged_options(self._spec, work.options, OPTIONS)
        except HostFailed as error:
            return error.with_traceback(None)
        best = int(np.argmax(probabilities))
        label, share = self._labels[best], round(float(probabilities[best]), 4)
        text = f"{label} ({share:.2f})"
        if options.get("json", False):
            scores = {name: round(float(one), 4) for name, one in zip(self._labels, probabilities, strict=True)}
            text = json.dumps({"label": label, "score": share, "scores": scores}, ensure_ascii=False)
        return Made(text=text, input_tokens=tokens, output_tokens=1)

    def _probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        found = []
        for start in range(0, len(texts), ROWS):
            batch = encoded(self.loaded, texts[start : start + ROWS], _nothing)
            with torch.inference_mode():
                logits = self.loaded.model(**batch).logits.float()
            found.append(torch.softmax(logits, dim=-1).double().cpu().numpy())
        return np.concatenate(found)

    def _hidden(self, batch: Encoded) -> torch.Tensor:
        states: torch.Tensor = self.loaded.model.base_model(**batch).last_hidden_state
        return states

    def _chunks(self, text: str) -> tuple[Chunk, ...]:
        overlap = min(self._spec.overlap_tokens, self._budget // 2)
        return chunks(text, budget=self._budget, measure=self._tokens, overlap=overlap)

    def _tokens(self, text: str) -> int:
        return tokens_of(self.loaded, text)


def open_model(spec: HostSpec) -> Classifier:
    """Load the weights, head included, and the tokenizer beside them. Raises HostFailed."""
    return Classifier(spec, load(spec, "AutoModelForSequenceClassification"))


def _nothing(_: Encoded) -> Encoded:
    return {}
